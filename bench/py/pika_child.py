"""pika. Run as `pika_child.py WHO JOB MESSAGES SIZE WINDOW QUEUE URL`.

The jobs are those of bench/src/amqp/job.rs. `pika` is its BlockingConnection, `pika-select` its
SelectConnection.
"""

import sys
import time

import pika

UNSUPPORTED = 3
PAUSE = 0.001
# What SelectConnection is given at once: it takes all, and keeps what the socket does not.
BATCH = 1000


class Job:
    """What both connections have in common: the numbers and the clocks."""

    def __init__(self, job, messages, size, window, queue):
        self.job = job
        self.messages = int(messages)
        self.body = b"x" * int(size)
        self.window = int(window)
        self.queue = queue
        self.done = 0
        self.trips = []

    @property
    def is_lone(self):
        return self.job == "rpc" or self.job.startswith("latency")

    @property
    def acks(self):
        return self.job == "consume_ack"

    def begin(self):
        self.began = time.process_time_ns(), time.monotonic_ns()

    def end(self):
        cpu, wall = time.process_time_ns() - self.began[0], time.monotonic_ns() - self.began[1]
        line = f"ops={self.messages} wall={wall} cpu={cpu}"
        if self.trips:
            self.trips.sort()
            count = len(self.trips)
            line += f" p50={self.trips[count // 2]} p99={self.trips[count * 99 // 100]}"
        print(line)

    def publish(self):
        self.channel.basic_publish("", self.queue, self.body)

    def request(self):
        """Publishes one message, at once or after a pause in which nothing happens."""
        if self.job == "latency_publish_deliver":
            self.call_later(PAUSE, self.send)
        else:
            self.send()

    def send(self):
        self.sent = time.monotonic_ns()
        self.publish()

    def on_message(self, channel, method, properties, body):
        self.done += 1
        if self.is_lone:
            self.trips.append(time.monotonic_ns() - self.sent)
            if self.done < self.messages:
                return self.request()
        elif self.acks:
            channel.basic_ack(method.delivery_tag)
        if self.done == self.messages:
            self.on_last()


class Blocking(Job):
    def run(self, url):
        if self.job == "confirm":
            # It waits for each confirm before the next message.
            return UNSUPPORTED
        connection = pika.BlockingConnection(pika.URLParameters(url))
        self.call_later = connection.call_later
        self.channel = channel = connection.channel()
        if self.job == "publish":
            self.begin()
            for _ in range(self.messages):
                self.publish()
        else:
            if self.acks:
                channel.basic_qos(prefetch_count=self.window)
            self.on_last = channel.stop_consuming
            self.begin()
            channel.basic_consume(self.queue, self.on_message, auto_ack=not self.acks)
            if self.is_lone:
                self.begin()
                self.request()
            channel.start_consuming()
        if not self.is_lone:
            channel.queue_declare(self.queue, passive=True)
        self.end()
        return 0


class Select(Job):
    def run(self, url):
        connection = pika.SelectConnection(pika.URLParameters(url), on_open_callback=self.on_open)
        self.ioloop = connection.ioloop
        self.call_later = self.ioloop.call_later
        self.ioloop.start()
        return 0

    def on_open(self, connection):
        connection.channel(on_open_callback=self.on_channel)

    def on_channel(self, channel):
        self.channel = channel
        self.on_last = self.declare
        if self.job == "publish":
            self.begin()
            self.publish_all()
        elif self.job == "confirm":
            self.outstanding, self.published, self.lowest = set(), 0, 1
            channel.confirm_delivery(self.on_confirm, self.on_selected)
        elif self.acks:
            channel.basic_qos(prefetch_count=self.window, callback=self.consume)
        elif self.is_lone:
            self.on_last = self.finish
            channel.basic_consume(
                self.queue, self.on_message, auto_ack=True, callback=self.on_consuming
            )
        else:
            self.consume()

    def publish_all(self):
        now = min(BATCH, self.messages - self.done)
        for _ in range(now):
            self.publish()
        self.done += now
        if self.done < self.messages:
            self.call_later(0, self.publish_all)
        else:
            self.declare()

    def on_selected(self, _):
        self.begin()
        self.fill_window()

    def fill_window(self):
        while self.published < self.messages and len(self.outstanding) < self.window:
            self.published += 1
            self.outstanding.add(self.published)
            self.publish()

    def on_confirm(self, frame):
        tag = frame.method.delivery_tag
        if frame.method.multiple:
            self.outstanding.difference_update(range(self.lowest, tag + 1))
            self.lowest = tag + 1
        else:
            self.outstanding.discard(tag)
        self.fill_window()
        if self.published == self.messages and not self.outstanding:
            self.declare()

    def consume(self, _=None):
        self.begin()
        self.channel.basic_consume(self.queue, self.on_message, auto_ack=not self.acks)

    def on_consuming(self, _):
        self.begin()
        self.request()

    def declare(self):
        self.channel.queue_declare(self.queue, passive=True, callback=self.finish)

    def finish(self, _=None):
        self.end()
        self.ioloop.stop()


def main():
    who, job, messages, size, window, queue, url = sys.argv[1:]
    kind = Select if who == "pika-select" else Blocking
    return kind(job, messages, size, window, queue).run(url)


if __name__ == "__main__":
    sys.exit(main())
