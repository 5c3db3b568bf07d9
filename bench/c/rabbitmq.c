/* rabbitmq-c. Run as `PROGRAM WHO JOB MESSAGES SIZE WINDOW QUEUE URL`; the jobs are those of
 * bench/src/amqp/job.rs. */
#include "bench.h" /* first: it says what the system's headers are to offer */

#include <amqp.h>
#include <amqp_tcp_socket.h>

#define CHANNEL 1
#define PAUSE_NS 1000000
#define OK(reply) CHECK((reply).reply_type == AMQP_RESPONSE_NORMAL)

static amqp_connection_state_t connection;
static uint64_t messages, window;
static amqp_bytes_t queue, body;

static void open_channel(char *url) {
    struct amqp_connection_info at;
    CHECK(amqp_parse_url(url, &at) == AMQP_STATUS_OK);
    connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    CHECK(!amqp_socket_open(socket, at.host, at.port));
    OK(amqp_login(connection, at.vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, at.user, at.password));
    amqp_channel_open(connection, CHANNEL);
    OK(amqp_get_rpc_reply(connection));
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

static uint64_t receive(void) {
    amqp_envelope_t envelope;
    amqp_maybe_release_buffers(connection);
    OK(amqp_consume_message(connection, &envelope, NULL, 0));
    uint64_t tag = envelope.delivery_tag;
    amqp_destroy_envelope(&envelope);
    return tag;
}

static void publish(void) {
    begin();
    for (uint64_t i = 0; i < messages; i++) send_message();
    declare();
    end(messages);
}

/* Waits for a confirm, and gives how many messages are confirmed. */
static uint64_t confirmed(void) {
    static char *is_confirmed;
    static uint64_t all_below = 1, total;
    if (!is_confirmed) is_confirmed = calloc(messages + 1, 1);
    amqp_frame_t frame;
    amqp_maybe_release_buffers(connection);
    CHECK(!amqp_simple_wait_frame(connection, &frame));
    CHECK(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD);
    amqp_basic_ack_t *ack = frame.payload.method.decoded;
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
        for (; sent < messages && sent - done < window; sent++) send_message();
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
        uint64_t tag = receive();
        if (ack) CHECK(!amqp_basic_ack(connection, CHANNEL, tag, 0));
    }
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

int main(int count, char **arguments) {
    CHECK(count == 8);
    const char *job = arguments[2];
    messages = strtoull(arguments[3], NULL, 10);
    body.len = strtoull(arguments[4], NULL, 10);
    body.bytes = malloc(body.len + 1);
    memset(body.bytes, 'x', body.len);
    window = strtoull(arguments[5], NULL, 10);
    queue = amqp_cstring_bytes(arguments[6]);
    open_channel(arguments[7]);
    if (!strcmp(job, "publish")) publish();
    else if (!strcmp(job, "confirm")) confirm();
    else if (!strcmp(job, "consume")) consume(0);
    else if (!strcmp(job, "consume_ack")) consume(1);
    else if (!strcmp(job, "rpc") || !strcmp(job, "latency_rpc")) request(0);
    else if (!strcmp(job, "latency_publish_deliver")) request(1);
    else return UNSUPPORTED;
    printf("\n");
    return 0;
}
