/* rabbitmq-c. Run as `PROGRAM WHO JOB MESSAGES SIZE WINDOW QUEUE URL`; the jobs are those of
 * bench/src/amqp/job.rs. As `rabbitmq-c-frames` it takes deliveries frame by frame, without copies of
 * them; as `rabbitmq-c-corked` it also has the kernel hold back what it sends until it would wait. */
#include "bench.h" /* first: it says what the system's headers are to offer */

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define CHANNEL 1
#define PAUSE_NS 1000000
#define OK(reply) CHECK((reply).reply_type == AMQP_RESPONSE_NORMAL)

static int by_frames, is_corked;
static amqp_connection_state_t connection;
static uint64_t messages, window;
static amqp_bytes_t queue, body;

static void open_channel(char *url) {
    struct amqp_connection_info at;
    CHECK(amqp_parse_url(url, &at) == AMQP_STATUS_OK);
    CHECK(connection = amqp_new_connection());
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    CHECK(socket);
    CHECK(!amqp_socket_open(socket, at.host, at.port));
    OK(amqp_login(connection, at.vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, at.user, at.password));
    amqp_channel_open(connection, CHANNEL);
    OK(amqp_get_rpc_reply(connection));
}

static void hold_back(int on) {
    if (!is_corked) return;
    CHECK(!setsockopt(amqp_get_sockfd(connection), IPPROTO_TCP, TCP_CORK, &on, sizeof on));
}

static void declare(void) {
    amqp_queue_declare(connection, CHANNEL, queue, 1, 0, 0, 0, amqp_empty_table);
    OK(amqp_get_rpc_reply(connection));
}

static void send_message(void) {
    CHECK(!amqp_basic_publish(connection, CHANNEL, amqp_empty_bytes, queue, 0, 0, NULL, body));
}

static void start_consumer(int no_ack) {
    amqp_basic_consume(connection, CHANNEL, queue, amqp_empty_bytes, 0, no_ack, 0, amqp_empty_table);
    OK(amqp_get_rpc_reply(connection));
}

static amqp_frame_t next_frame(uint8_t type) {
    amqp_frame_t frame;
    CHECK(!amqp_simple_wait_frame(connection, &frame));
    CHECK(frame.frame_type == type);
    return frame;
}

static void *next_method(amqp_method_number_t id) {
    amqp_frame_t frame = next_frame(AMQP_FRAME_METHOD);
    CHECK(frame.payload.method.id == id);
    return frame.payload.method.decoded;
}

static uint64_t receive_frames(void) {
    uint64_t tag = ((amqp_basic_deliver_t *)next_method(AMQP_BASIC_DELIVER_METHOD))->delivery_tag;
    uint64_t left = next_frame(AMQP_FRAME_HEADER).payload.properties.body_size;
    while (left) {
        size_t part = next_frame(AMQP_FRAME_BODY).payload.body_fragment.len;
        CHECK(part <= left);
        left -= part;
    }
    return tag;
}

static uint64_t receive(void) {
    amqp_maybe_release_buffers(connection);
    if (by_frames) return receive_frames();
    amqp_envelope_t envelope;
    OK(amqp_consume_message(connection, &envelope, NULL, 0));
    uint64_t tag = envelope.delivery_tag;
    amqp_destroy_envelope(&envelope);
    return tag;
}

/* Whether nothing more can be taken without a look at the socket. */
static int would_wait(void) {
    return !amqp_frames_enqueued(connection) && !amqp_data_in_buffer(connection);
}

static void publish(void) {
    begin();
    hold_back(1);
    for (uint64_t i = 0; i < messages; i++) send_message();
    hold_back(0);
    declare();
    end(messages);
}

/* Waits for a confirm, and gives how many messages are confirmed. */
static uint64_t confirmed(void) {
    static char *is_confirmed;
    static uint64_t all_below = 1, total;
    if (!is_confirmed) is_confirmed = zeroed(messages + 1, 1);
    amqp_maybe_release_buffers(connection);
    amqp_basic_ack_t *ack = next_method(AMQP_BASIC_ACK_METHOD);
    CHECK(ack->delivery_tag <= messages);
    uint64_t first = ack->multiple ? all_below : ack->delivery_tag;
    for (uint64_t tag = first; tag <= ack->delivery_tag; tag++) total += !is_confirmed[tag], is_confirmed[tag] = 1;
    if (ack->multiple && all_below <= ack->delivery_tag) all_below = ack->delivery_tag + 1;
    return total;
}

static void confirm(void) {
    amqp_confirm_select(connection, CHANNEL);
    OK(amqp_get_rpc_reply(connection));
    begin();
    for (uint64_t sent = 0, done = 0; done < messages; done = confirmed()) {
        if (is_corked && !would_wait()) continue;
        hold_back(1);
        for (; sent < messages && sent - done < window; sent++) send_message();
        hold_back(0);
    }
    declare();
    end(messages);
}

static void consume(int ack) {
    if (ack) {
        amqp_basic_qos(connection, CHANNEL, 0, window, 0);
        OK(amqp_get_rpc_reply(connection));
    }
    begin();
    start_consumer(!ack);
    for (uint64_t i = 0; i < messages; i++) {
        if (ack && would_wait()) hold_back(0), hold_back(1);
        uint64_t tag = receive();
        if (ack) CHECK(!amqp_basic_ack(connection, CHANNEL, tag, 0));
    }
    hold_back(0);
    declare();
    end(messages);
}

static void request(int pauses) {
    static struct samples trips;
    struct timespec pause = {0, PAUSE_NS};
    start_consumer(1);
    begin();
    for (uint64_t i = 0; i < messages; i++) {
        if (pauses) nanosleep(&pause, NULL);
        uint64_t sent = now_ns();
        send_message();
        receive();
        sample(&trips, (int64_t)(now_ns() - sent));
    }
    end(messages);
    report_samples(&trips, "");
}

static void consume_only(void) { consume(0); }
static void consume_and_ack(void) { consume(1); }
static void request_at_once(void) { request(0); }
static void request_after_pauses(void) { request(1); }

/* With whether there is something to be gained by frames, and by a cork. */
static const struct { const char *name; void (*run)(void); int by_frames, corked; } jobs[] = {
    {"publish", publish, 0, 1},
    {"confirm", confirm, 0, 1},
    {"consume", consume_only, 1, 0},
    {"consume_ack", consume_and_ack, 1, 1},
    {"rpc", request_at_once, 0, 0},
    {"latency_rpc", request_at_once, 0, 0},
    {"latency_publish_deliver", request_after_pauses, 0, 0},
};

int main(int count, char **arguments) {
    CHECK(count == 8);
    is_corked = !strcmp(arguments[1], "rabbitmq-c-corked");
    by_frames = is_corked || !strcmp(arguments[1], "rabbitmq-c-frames");
    messages = strtoull(arguments[3], NULL, 10);
    body.len = strtoull(arguments[4], NULL, 10);
    CHECK(body.bytes = malloc(body.len + 1));
    memset(body.bytes, 'x', body.len);
    window = strtoull(arguments[5], NULL, 10);
    queue = amqp_cstring_bytes(arguments[6]);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        if (strcmp(jobs[i].name, arguments[2])) continue;
        if (is_corked ? !jobs[i].corked : by_frames && !jobs[i].by_frames) return UNSUPPORTED;
        open_channel(arguments[7]);
        jobs[i].run();
        printf("\n");
        return 0;
    }
    return UNSUPPORTED;
}
