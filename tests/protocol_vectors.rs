//! Whole frames, octet by octet. They were composed from the specification, without this crate, in
//! the shape that RabbitMQ and its clients exchange; they are not a recording of a broker.

use haypile::protocol::{
    BasicProperties, ContentHeader, EncodeMethod, FieldTable, FieldValue, Frame, FrameKind, Method,
    PROTOCOL_HEADER, basic, channel, confirm, connection, encode_body_frame, encode_content_header,
    encode_heartbeat, encode_method, exchange, queue, tx,
};

const FRAME_MAX: u32 = 131_072;

/// The one method frame in `bytes`.
fn received(bytes: &[u8]) -> (u16, Method<'_>) {
    let (frame, length) =
        Frame::parse(bytes, FRAME_MAX).expect("a frame").expect("all of the frame");
    assert_eq!((frame.kind, length), (FrameKind::Method, bytes.len()));
    (frame.channel, Method::decode(frame.payload).expect("a method"))
}

#[track_caller]
fn assert_sent<M: EncodeMethod>(channel: u16, method: &M, bytes: &[u8]) {
    let mut out = Vec::new();
    encode_method(&mut out, FRAME_MAX, channel, method).expect("a method that can be sent");
    assert_eq!(out, bytes, "{}", M::NAME);
}

#[test]
fn the_protocol_header() {
    assert_eq!(PROTOCOL_HEADER, [0x41, 0x4D, 0x51, 0x50, 0, 0, 9, 1]);
}

#[test]
fn start_with_properties_like_rabbitmqs() {
    let bytes = [
        b"\x01\x00\x00\x00\x00\x01\xf4".as_slice(),
        b"\x00\x0a\x00\x0a\x00\x09",
        b"\x00\x00\x01\xcf",
        b"\x0ccapabilitiesF\x00\x00\x00\xc7",
        b"\x12publisher_confirmst\x01",
        b"\x1aexchange_exchange_bindingst\x01",
        b"\x0abasic.nackt\x01",
        b"\x16consumer_cancel_notifyt\x01",
        b"\x12connection.blockedt\x01",
        b"\x13consumer_prioritiest\x01",
        b"\x1cauthentication_failure_closet\x01",
        b"\x10per_consumer_qost\x01",
        b"\x0fdirect_reply_tot\x01",
        b"\x0ccluster_nameS\x00\x00\x00\x0drabbit@broker",
        b"\x09copyrightS\x00\x00\x00\x37Copyright (c) 2007-2022 VMware, Inc. or its affiliates.",
        b"\x0binformationS\x00\x00\x00\x39Licensed under the MPL 2.0. Website: https://rabbitmq.com",
        b"\x08platformS\x00\x00\x00\x11Erlang/OTP 25.2.3",
        b"\x07productS\x00\x00\x00\x08RabbitMQ",
        b"\x07versionS\x00\x00\x00\x063.10.8",
        b"\x00\x00\x00\x0ePLAIN AMQPLAIN",
        b"\x00\x00\x00\x05en_US",
        b"\xce",
    ]
    .concat();
    let (channel, Method::Connection(connection::Method::Start(start))) = received(&bytes) else {
        panic!("not connection.start")
    };
    assert_eq!((channel, start.version_major, start.version_minor), (0, 0, 9));
    assert_eq!(start.mechanisms, "PLAIN AMQPLAIN");
    assert_eq!(start.locales, "en_US");
    let names: Vec<_> = start.server_properties.iter().map(|entry| entry.unwrap().0).collect();
    let expected = [
        "capabilities",
        "cluster_name",
        "copyright",
        "information",
        "platform",
        "product",
        "version",
    ];
    assert_eq!(names, expected);
    let version = start.server_properties.get("version").unwrap().unwrap();
    assert_eq!(version.as_str(), Some("3.10.8"));
    let capabilities = start.server_properties.get("capabilities").unwrap();
    let Some(FieldValue::Table(capabilities)) = capabilities else { panic!("not a table") };
    assert_eq!(capabilities.iter().count(), 9);
    assert_eq!(capabilities.get("basic.nack"), Ok(Some(FieldValue::Bool(true))));
    // Nothing of it changes on the way through.
    assert_sent(0, &start, &bytes);
}

#[test]
fn start_ok_with_plain_credentials() {
    let start_ok = connection::StartOk {
        client_properties: FieldTable::new().with("product", "haypile").unwrap(),
        mechanism: "PLAIN".into(),
        response: "\0guest\0guest".into(),
        locale: "en_US".into(),
    };
    let bytes = b"\x01\x00\x00\x00\x00\x00\x38\x00\x0a\x00\x0b\
        \x00\x00\x00\x14\x07productS\x00\x00\x00\x07haypile\
        \x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US\xce";
    assert_sent(0, &start_ok, bytes);
}

#[test]
fn tune_and_open() {
    let bytes = b"\x01\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x1e\x07\xff\x00\x02\x00\x00\x00\x3c\xce";
    let tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
    assert_eq!(received(bytes), (0, Method::Connection(connection::Method::Tune(tune))));

    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
    let bytes = b"\x01\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x1f\x07\xff\x00\x02\x00\x00\x00\x3c\xce";
    assert_sent(0, &tune_ok, bytes);

    let open = connection::Open { virtual_host: "/".into() };
    let bytes = b"\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x28\x01/\x00\x00\xce";
    assert_sent(0, &open, bytes);
    let bytes = b"\x01\x00\x00\x00\x00\x00\x05\x00\x0a\x00\x29\x00\xce";
    let open_ok = Method::Connection(connection::Method::OpenOk(connection::OpenOk));
    assert_eq!(received(bytes), (0, open_ok));
}

#[test]
fn opening_a_channel() {
    let bytes = b"\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x0a\x00\xce";
    assert_sent(1, &channel::Open, bytes);
    let bytes = b"\x01\x00\x01\x00\x00\x00\x08\x00\x14\x00\x0b\x00\x00\x00\x00\xce";
    let open_ok = Method::Channel(channel::Method::OpenOk(channel::OpenOk));
    assert_eq!(received(bytes), (1, open_ok));
}

#[test]
fn a_channel_closed_by_the_broker() {
    let bytes = b"\x01\x00\x01\x00\x00\x00\x16\x00\x14\x00\x28\x01\x94\x0bNOT_FOUND -\
        \x00\x3c\x00\x14\xce";
    let close = channel::Close {
        reply_code: 404,
        reply_text: "NOT_FOUND -".into(),
        class_id: 60,
        method_id: 20,
    };
    assert_eq!(received(bytes), (1, Method::Channel(channel::Method::Close(close))));
}

#[test]
fn five_bits_share_an_octet() {
    let none = exchange::Declare { exchange: "e".into(), ..Default::default() };
    let all = exchange::Declare {
        passive: true,
        durable: true,
        auto_delete: true,
        internal: true,
        ..none.clone()
    };
    let cases = [
        (none.clone(), 0b0_0000),
        (exchange::Declare { passive: true, ..none.clone() }, 0b0_0001),
        (exchange::Declare { durable: true, ..none.clone() }, 0b0_0010),
        (exchange::Declare { auto_delete: true, ..none.clone() }, 0b0_0100),
        (exchange::Declare { internal: true, ..none }, 0b0_1000),
        (all, 0b0_1111),
    ];
    for (declare, bits) in cases {
        let bytes = [
            b"\x01\x00\x01\x00\x00\x00\x14\x00\x28\x00\x0a\x00\x00\x01e\x06direct".as_slice(),
            &[bits],
            b"\x00\x00\x00\x00\xce",
        ]
        .concat();
        assert_sent(1, &declare, &bytes);
    }
}

#[test]
fn declaring_a_queue() {
    let declare = queue::Declare {
        queue: "tasks".into(),
        durable: true,
        auto_delete: true,
        arguments: FieldTable::new().with("x-max-length", 1000).unwrap(),
        ..Default::default()
    };
    let bytes = b"\x01\x00\x01\x00\x00\x00\x23\x00\x32\x00\x0a\x00\x00\x05tasks\x0a\
        \x00\x00\x00\x12\x0cx-max-lengthI\x00\x00\x03\xe8\xce";
    assert_sent(1, &declare, bytes);

    let bytes =
        b"\x01\x00\x01\x00\x00\x00\x12\x00\x32\x00\x0b\x05tasks\x00\x00\x00\x2a\x00\x00\x00\x02\xce";
    let declare_ok =
        queue::DeclareOk { queue: "tasks".into(), message_count: 42, consumer_count: 2 };
    assert_eq!(received(bytes), (1, Method::Queue(queue::Method::DeclareOk(declare_ok))));
}

#[test]
fn consuming() {
    let consume = basic::Consume {
        queue: "q".into(),
        consumer_tag: "c".into(),
        no_ack: true,
        exclusive: true,
        ..Default::default()
    };
    let bytes = b"\x01\x00\x01\x00\x00\x00\x0f\x00\x3c\x00\x14\x00\x00\x01q\x01c\x06\
        \x00\x00\x00\x00\xce";
    assert_sent(1, &consume, bytes);
    let no_local = basic::Consume { no_local: true, no_ack: false, exclusive: false, ..consume };
    let bytes = b"\x01\x00\x01\x00\x00\x00\x0f\x00\x3c\x00\x14\x00\x00\x01q\x01c\x01\
        \x00\x00\x00\x00\xce";
    assert_sent(1, &no_local, bytes);

    // The broker's own cancel has the bit no-wait, which is nobody's to see.
    let bytes = b"\x01\x00\x01\x00\x00\x00\x07\x00\x3c\x00\x1e\x01c\x01\xce";
    let cancel = basic::Cancel { consumer_tag: "c".into() };
    assert_eq!(received(bytes), (1, Method::Basic(basic::Method::Cancel(cancel))));
}

#[test]
fn a_delivery() {
    let bytes = b"\x01\x00\x01\x00\x00\x00\x14\x00\x3c\x00\x3c\x01c\
        \x00\x00\x00\x00\x00\x00\x00\x05\x01\x01e\x02rk\xce";
    let deliver = basic::Deliver {
        consumer_tag: "c".into(),
        delivery_tag: 5,
        redelivered: true,
        exchange: "e".into(),
        routing_key: "rk".into(),
    };
    assert_eq!(received(bytes), (1, Method::Basic(basic::Method::Deliver(deliver))));
}

#[test]
fn acknowledging() {
    let ack = basic::Ack { delivery_tag: 258, multiple: true };
    let bytes = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50\
        \x00\x00\x00\x00\x00\x00\x01\x02\x01\xce";
    assert_sent(1, &ack, bytes);
    let nack = basic::Nack { delivery_tag: 3, ..Default::default() };
    let bytes = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x78\
        \x00\x00\x00\x00\x00\x00\x00\x03\x02\xce";
    assert_sent(1, &nack, bytes);
    let reject = basic::Reject { delivery_tag: 3, requeue: false };
    let bytes = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x5a\
        \x00\x00\x00\x00\x00\x00\x00\x03\x00\xce";
    assert_sent(1, &reject, bytes);
}

#[test]
fn methods_that_are_ids_and_little_else() {
    assert_sent(1, &confirm::Select, b"\x01\x00\x01\x00\x00\x00\x05\x00\x55\x00\x0a\x00\xce");
    assert_sent(1, &tx::Commit, b"\x01\x00\x01\x00\x00\x00\x04\x00\x5a\x00\x14\xce");
    let qos = basic::Qos { prefetch_count: 10, ..Default::default() };
    let bytes = b"\x01\x00\x01\x00\x00\x00\x0b\x00\x3c\x00\x0a\x00\x00\x00\x00\x00\x0a\x00\xce";
    assert_sent(1, &qos, bytes);
}

#[test]
fn a_message_published() {
    let publish = basic::Publish {
        exchange: "e".into(),
        routing_key: "rk".into(),
        mandatory: true,
        ..Default::default()
    };
    let properties = BasicProperties {
        content_type: Some("text/plain".into()),
        delivery_mode: Some(BasicProperties::PERSISTENT),
        timestamp: Some(1_700_000_000),
        ..Default::default()
    };
    let mut out = Vec::new();
    encode_method(&mut out, FRAME_MAX, 1, &publish).unwrap();
    encode_content_header(&mut out, FRAME_MAX, 1, 5, &properties).unwrap();
    encode_body_frame(&mut out, 1, b"hello");
    encode_heartbeat(&mut out);
    let bytes = [
        b"\x01\x00\x01\x00\x00\x00\x0c\x00\x3c\x00\x28\x00\x00\x01e\x02rk\x01\xce".as_slice(),
        b"\x02\x00\x01\x00\x00\x00\x22\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05",
        b"\x90\x40\x0atext/plain\x02\x00\x00\x00\x00\x65\x53\xf1\x00\xce",
        b"\x03\x00\x01\x00\x00\x00\x05hello\xce",
        b"\x08\x00\x00\x00\x00\x00\x00\xce",
    ]
    .concat();
    assert_eq!(out, bytes);

    let header = &bytes[20 + 7..20 + 7 + 0x22];
    let header = ContentHeader::decode(header).unwrap();
    assert_eq!((header.class_id, header.body_size), (60, 5));
    assert_eq!(header.decode_properties(), Ok(properties));
}
