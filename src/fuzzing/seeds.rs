//! Inputs to start from: what a session is like, and what each type of value looks like.

use std::path::Path;

use super::machine::script::Op::{
    Ack, Answer, AskCancel, AskChannel, AskChannelClose, AskClose, AskConfirms, AskConsumer,
    AskGet, AskRequest, AskSecret, AwaitConfirms, Body, CancelConsumer, CloseChannel,
    CloseConnection, ContentHeader, Deliver, Greet, Inside, LimitTime, LimitUnconfirmed, Observe,
    Oversleep, Publish, Return, ReturnPublished, Settle, Wait, Write,
};
use crate::protocol::{
    BasicProperties, EncodeMethod, FieldArray, FieldTable, FieldValue, Method, basic, channel,
    connection, encode_body_frame, encode_content_header, encode_heartbeat, encode_method,
    exchange, queue,
};

/// A target's name, its body, and its seeds.
pub(super) type Target = (&'static str, fn(&[u8]), Vec<Vec<u8>>);

pub(super) fn targets() -> [Target; 4] {
    [
        ("frames", super::frames, frames()),
        ("machine", super::machine, machine()),
        ("methods", super::methods, methods()),
        ("tables", super::tables, tables()),
    ]
}

fn table() -> FieldTable<'static> {
    let values = [
        FieldValue::Bool(true),
        FieldValue::I8(-1),
        FieldValue::U8(1),
        FieldValue::I16(-2),
        FieldValue::U16(2),
        FieldValue::I32(-3),
        FieldValue::U32(3),
        FieldValue::I64(-4),
        FieldValue::F32(0.5),
        FieldValue::F64(-0.25),
        FieldValue::Decimal { scale: 2, value: 314 },
        FieldValue::LongString("text".into()),
        FieldValue::Timestamp(1_700_000_000),
        FieldValue::Void,
        FieldValue::Bytes(b"\xff\0"[..].into()),
    ];
    let (mut table, mut array) = (FieldTable::new(), FieldArray::new());
    for (index, value) in values.into_iter().enumerate() {
        array.push(value.clone()).unwrap();
        table.insert(format!("k{index}"), value).unwrap();
    }
    let inner = FieldTable::new().with("inner", 1).unwrap();
    table.with("array", array).unwrap().with("table", inner).unwrap()
}

fn properties() -> BasicProperties<'static> {
    BasicProperties {
        content_type: Some("text/plain".into()),
        headers: Some(FieldTable::new().with("x-match", "all").unwrap()),
        delivery_mode: Some(2),
        message_id: Some("m".into()),
        timestamp: Some(1),
        ..Default::default()
    }
}

fn tables() -> Vec<Vec<u8>> {
    let mut array = FieldArray::new();
    array.push(1).unwrap();
    array.push("two").unwrap();
    let mut encoded = Vec::new();
    properties().encode(&mut encoded).unwrap();
    vec![table().encoded().to_vec(), array.encoded().to_vec(), encoded, Vec::new()]
}

fn payload<M: EncodeMethod>(method: &M) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_method(&mut frame, 0, 0, method).unwrap();
    frame[7..frame.len() - 1].to_vec()
}

fn methods() -> Vec<Vec<u8>> {
    let start = connection::Start {
        version_minor: 9,
        server_properties: table(),
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
        ..Default::default()
    };
    let start_ok =
        connection::StartOk { response: "!\"#$%&'()*+,-./:".into(), ..Default::default() };
    let declare = queue::Declare {
        queue: "q".into(),
        durable: true,
        arguments: FieldTable::new().with("x-max-length", 9).unwrap(),
        ..Default::default()
    };
    let close = channel::Close { reply_code: 404, reply_text: "no".into(), ..Default::default() };
    let mut seeds = vec![
        payload(&start),
        payload(&start_ok),
        payload(&connection::Tune { channel_max: 1, frame_max: 4096, heartbeat: 60 }),
        payload(&connection::UpdateSecret::default()),
        payload(&declare),
        payload(&exchange::Bind { routing_key: "key".into(), ..Default::default() }),
        payload(&basic::Deliver { consumer_tag: "c".into(), ..Default::default() }),
        payload(&basic::Nack::default()),
        payload(&close),
    ];
    // And every method there is, with zeros for arguments.
    for (class, method) in (0..100).flat_map(|class| (0..128).map(move |method| (class, method))) {
        let mut payload = vec![0, class, 0, method];
        payload.extend([0; 24]);
        if let Ok(method) = Method::decode(&payload) {
            let mut encoded = Vec::new();
            method.encode(&mut encoded).unwrap();
            seeds.push(encoded);
        }
    }
    seeds
}

fn frames() -> Vec<Vec<u8>> {
    let mut frames = vec![16, 0];
    encode_method(&mut frames, 0, 1, &basic::Deliver::default()).unwrap();
    encode_content_header(&mut frames, 0, 1, 4, &properties()).unwrap();
    encode_body_frame(&mut frames, 1, b"body");
    encode_heartbeat(&mut frames);
    let unlimited = [&[0, 0], &frames[2..]].concat();
    vec![frames, unlimited, vec![0, 9, 8, 0, 0, 0, 0, 0, 1]]
}

/// Settings: reads of 7 octets, greeted, limits as RabbitMQ's.
const OPEN: [u8; 6] = [7, 1, 0, 1, 0, 0];

fn script(settings: [u8; 6], ops: &[&[u8]]) -> Vec<u8> {
    [&settings[..], &ops.concat()].concat()
}

fn machine() -> Vec<Vec<u8>> {
    let channel: &[u8] = &[AskChannel as u8, 0, Answer as u8, 0];
    let consumer: &[u8] = &[AskConsumer as u8, 0, 0, 0, Answer as u8, 0];
    let deliver: &[u8] = &[Deliver as u8, 0, 1, 0, 5];
    let ack: &[u8] = &[Settle as u8, 0, 0, 1];
    let close: &[u8] = &[AskClose as u8, 1, Answer as u8, 0];
    vec![
        script(OPEN, &[channel, consumer, deliver, ack, deliver, close]),
        // Published: small, by reference in three frames, and refused.
        script(
            [3, 1, 0, 0, 0, 0],
            &[
                channel,
                &[Publish as u8, 0, 1, 0, 100, 1],
                &[Publish as u8, 0, 1, 1, 225, 1, Write as u8, 0, 50, Write as u8, 0, 0],
                &[Publish as u8, 0, 6, 0, 9, 1, Return as u8, 1, 0, 9],
                close,
            ],
        ),
        // Requests behind each other, with publishes between, and a transaction.
        script(
            OPEN,
            &[
                channel,
                &[AskRequest as u8, 0, 6, 0, Answer as u8, 0],
                &[
                    AskRequest as u8,
                    0,
                    0,
                    1,
                    Publish as u8,
                    0,
                    0,
                    0,
                    9,
                    0,
                    AskRequest as u8,
                    0,
                    8,
                    0,
                ],
                &[Publish as u8, 0, 0, 0, 9, 0, AskGet as u8, 0, 1],
                &[Answer as u8, 0, Answer as u8, 0, Answer as u8, 0, 1, 0, 9],
                close,
            ],
        ),
        // A message in parts among another channel's, then both sides cancel and close.
        script(
            OPEN,
            &[
                channel,
                channel,
                consumer,
                &[Deliver as u8, 0, 1, 3, 0, ContentHeader as u8, 1, 20, Body as u8, 1, 10],
                &[AskRequest as u8, 1, 0, 1, Answer as u8, 0, Body as u8, 1, 10],
                &[
                    Observe as u8,
                    0,
                    AskCancel as u8,
                    0,
                    0,
                    CancelConsumer as u8,
                    0,
                    Answer as u8,
                    0,
                ],
                &[AskChannelClose as u8, 0, 1, CloseChannel as u8, 1, 0, Answer as u8, 0],
                &[CloseChannel as u8, 2, 0, CloseConnection as u8, 0],
            ],
        ),
        // A header that claims 16 MB; a consumer that is called no more; requests that the end takes.
        script(
            OPEN,
            &[
                channel,
                consumer,
                &[Deliver as u8, 0, 1, 2, 255, 255, 255, Body as u8, 1, 90, Body as u8, 1, 90],
                channel,
                &[AskConsumer as u8, 1, 1, 0, Answer as u8, 0, AskCancel as u8, 1, 1],
                &[Deliver as u8, 1, 1, 0, 5, Answer as u8, 0],
                &[AskGet as u8, 1, 1, AskGet as u8, 1, 1, AskRequest as u8, 1, 0, 1],
                &[Publish as u8, 1, 1, 1, 225, 1, AskChannelClose as u8, 1, 1],
            ],
        ),
        // From inside of events: close, publish, consume.
        script(
            OPEN,
            &[
                &[Inside as u8, 4],
                channel,
                &[AskConsumer as u8, 0, 0, 0],
                &[Answer as u8, 0, Publish as u8, 0, 1, 0, 5, 0],
                deliver,
                &[AskClose as u8, 1],
                &[Answer as u8, 0],
            ],
        ),
        // Confirms: out of order, of several, of one that came back, of some that never are.
        script(
            OPEN,
            &[
                channel,
                &[AskConfirms as u8, 0, Publish as u8, 0, 1, 0, 9, 0, Answer as u8, 0],
                &[Publish as u8, 0, 1, 2, 9, 1, Publish as u8, 0, 1, 0, 9, 0, Write as u8, 0, 0],
                &[AwaitConfirms as u8, 0, LimitUnconfirmed as u8, 0, 3],
                &[Publish as u8, 0, 1, 0, 9, 0, Publish as u8, 0, 1, 0, 9, 0, Write as u8, 0, 0],
                &[Ack as u8, 1, 0, 3, ReturnPublished as u8, 0, Ack as u8, 1, 1, 2],
                &[Publish as u8, 0, 1, 0, 9, 0, Ack as u8, 1, 2, 4, AskRequest as u8, 0, 0, 1],
                &[Publish as u8, 0, 1, 0, 9, 0, CloseChannel as u8, 1, 0],
            ],
        ),
        // A connection that is full, and has room again.
        script(
            [7, 1, 0, 1, 0, 4],
            &[
                channel,
                &[Publish as u8, 0, 1, 0, 225, 0, Publish as u8, 0, 1, 0, 9, 0, Write as u8, 9, 9],
                &[Publish as u8, 0, 1, 1, 225, 0, AskRequest as u8, 0, 0, 1],
                &[AskRequest as u8, 0, 0, 1, Publish as u8, 0, 1, 0, 225, 0, Write as u8, 0, 0],
                &[Publish as u8, 0, 1, 0, 9, 0, AskChannelClose as u8, 0, 1, Answer as u8, 0],
            ],
        ),
        // Requests that are answered too late: a get, a consume, a close, and an open.
        script(
            OPEN,
            &[
                channel,
                &[LimitTime as u8, 3, 232, 0, 0, AskGet as u8, 0, 1, AskGet as u8, 0, 1],
                &[Wait as u8, 4, 0, 0, Answer as u8, 0, 1, 0, 9],
                &[AskConsumer as u8, 0, 0, 0, Wait as u8, 4, 0, 0, Deliver as u8, 0, 1, 0, 5],
                &[Answer as u8, 0, Answer as u8, 0, AskConfirms as u8, 0, Answer as u8, 0],
                &[Publish as u8, 0, 1, 0, 9, 0, AwaitConfirms as u8, 0],
                &[AskChannelClose as u8, 0, 1, Wait as u8, 4, 0, 0, AskChannel as u8, 129],
                &[Answer as u8, 0, AskChannel as u8, 129, Wait as u8, 4, 0, 0, Answer as u8, 0],
            ],
        ),
        // Blocked, for too long in the end; secrets one after the other.
        script(
            [7, 1, 0, 1, 0, 8],
            &[
                &[AskSecret as u8, 1, AskSecret as u8, 2, Answer as u8, 0, Answer as u8, 0],
                &[Greet as u8, 3, Wait as u8, 16, 0, 0, Greet as u8, 4, AskSecret as u8, 1],
                &[Greet as u8, 3, Greet as u8, 3, Wait as u8, 32, 0, 0],
            ],
        ),
        // Messages that are too long, and too many in parts.
        script(
            [7, 1, 0, 0, 0, 16],
            &[
                channel,
                channel,
                channel,
                consumer,
                &[AskConsumer as u8, 1, 1, 0, Answer as u8, 0, AskConsumer as u8, 2, 1, 0],
                &[Answer as u8, 0, Deliver as u8, 1, 1, 2, 240, Body as u8, 2, 200],
                &[Body as u8, 2, 200, Deliver as u8, 2, 1, 2, 240, Body as u8, 3, 200],
                &[Body as u8, 3, 200, Body as u8, 2, 1, Deliver as u8, 0, 1, 0, 230],
                &[AskRequest as u8, 0, 0, 1, Answer as u8, 0, AskChannel as u8, 0, Answer as u8, 0],
            ],
        ),
        // Heartbeats, a silent peer.
        script(
            [7, 1, 0, 1, 1, 0],
            &[channel, &[Wait as u8, 2, 0, 0, Greet as u8, 5, Wait as u8, 20, 0, 0]],
        ),
        // The user sleeps while it is told of room, and again while it is told of the answer, which
        // came before all that.
        script(
            [3, 1, 0, 0, 1, 4],
            &[
                channel,
                &[Publish as u8, 0, 1, 0, 225, 1, Publish as u8, 0, 1, 0, 225, 1],
                &[AskRequest as u8, 0, 3, 0, Inside as u8, 3, Answer as u8, 0],
                &[Oversleep as u8, 0, 5, 1, AskChannel as u8, 0, Oversleep as u8, 0, 5, 1],
                &[Wait as u8, 0, 1, 1],
            ],
        ),
        // The handshake itself; a close that is not answered.
        script(
            [2, 0, 0, 0, 0, 0],
            &[
                &[Greet as u8, 0, Greet as u8, 1, 0, 9, 0, 10, 4, Greet as u8, 2],
                channel,
                &[AskClose as u8, 1, Wait as u8, 255, 255, 0],
            ],
        ),
    ]
}

/// Has cargo-fuzz start from them.
#[test]
#[ignore = "writes fuzz/corpus, for cargo-fuzz"]
fn write_seeds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, _, seeds) in targets() {
        let folder = corpus.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (index, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index:03}")), seed).unwrap();
        }
    }
}
