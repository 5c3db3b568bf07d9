//! The method table against the specification, through bytes that are not made by this crate.

use haypile::protocol::{
    DecodeError, EncodeMethod, Method, Request, basic, channel, confirm, connection, exchange,
    queue, tx,
};

/// Every class and method of AMQP 0-9-1 with RabbitMQ's extensions: its id, and its fields with
/// their types, in the order of the wire. A line that ends with a comma goes on in the next.
const SPECIFICATION: &str = "\
connection 10
    start 10: version-major octet, version-minor octet, server-properties table,
        mechanisms longstr, locales longstr
    start-ok 11: client-properties table, mechanism shortstr, response longstr, locale shortstr
    secure 20: challenge longstr
    secure-ok 21: response longstr
    tune 30: channel-max short, frame-max long, heartbeat short
    tune-ok 31: channel-max short, frame-max long, heartbeat short
    open 40: virtual-host shortstr, reserved-1 shortstr, reserved-2 bit
    open-ok 41: reserved-1 shortstr
    close 50: reply-code short, reply-text shortstr, class-id short, method-id short
    close-ok 51
    blocked 60: reason shortstr
    unblocked 61
    update-secret 70: new-secret longstr, reason shortstr
    update-secret-ok 71
channel 20
    open 10: reserved-1 shortstr
    open-ok 11: reserved-1 longstr
    flow 20: active bit
    flow-ok 21: active bit
    close 40: reply-code short, reply-text shortstr, class-id short, method-id short
    close-ok 41
exchange 40
    declare 10: reserved-1 short, exchange shortstr, type shortstr, passive bit, durable bit,
        auto-delete bit, internal bit, no-wait bit, arguments table
    declare-ok 11
    delete 20: reserved-1 short, exchange shortstr, if-unused bit, no-wait bit
    delete-ok 21
    bind 30: reserved-1 short, destination shortstr, source shortstr, routing-key shortstr,
        no-wait bit, arguments table
    bind-ok 31
    unbind 40: reserved-1 short, destination shortstr, source shortstr, routing-key shortstr,
        no-wait bit, arguments table
    unbind-ok 51
queue 50
    declare 10: reserved-1 short, queue shortstr, passive bit, durable bit, exclusive bit,
        auto-delete bit, no-wait bit, arguments table
    declare-ok 11: queue shortstr, message-count long, consumer-count long
    bind 20: reserved-1 short, queue shortstr, exchange shortstr, routing-key shortstr,
        no-wait bit, arguments table
    bind-ok 21
    purge 30: reserved-1 short, queue shortstr, no-wait bit
    purge-ok 31: message-count long
    delete 40: reserved-1 short, queue shortstr, if-unused bit, if-empty bit, no-wait bit
    delete-ok 41: message-count long
    unbind 50: reserved-1 short, queue shortstr, exchange shortstr, routing-key shortstr,
        arguments table
    unbind-ok 51
basic 60
    qos 10: prefetch-size long, prefetch-count short, global bit
    qos-ok 11
    consume 20: reserved-1 short, queue shortstr, consumer-tag shortstr, no-local bit,
        no-ack bit, exclusive bit, no-wait bit, arguments table
    consume-ok 21: consumer-tag shortstr
    cancel 30: consumer-tag shortstr, no-wait bit
    cancel-ok 31: consumer-tag shortstr
    publish 40: reserved-1 short, exchange shortstr, routing-key shortstr, mandatory bit,
        immediate bit
    return 50: reply-code short, reply-text shortstr, exchange shortstr, routing-key shortstr
    deliver 60: consumer-tag shortstr, delivery-tag longlong, redelivered bit,
        exchange shortstr, routing-key shortstr
    get 70: reserved-1 short, queue shortstr, no-ack bit
    get-ok 71: delivery-tag longlong, redelivered bit, exchange shortstr, routing-key shortstr,
        message-count long
    get-empty 72: reserved-1 shortstr
    ack 80: delivery-tag longlong, multiple bit
    reject 90: delivery-tag longlong, requeue bit
    recover-async 100: requeue bit
    recover 110: requeue bit
    recover-ok 111
    nack 120: delivery-tag longlong, multiple bit, requeue bit
confirm 85
    select 10: nowait bit
    select-ok 11
tx 90
    select 10
    select-ok 11
    commit 20
    commit-ok 21
    rollback 30
    rollback-ok 31
";

struct Spec {
    class: &'static str,
    name: &'static str,
    ids: (u16, u16),
    fields: Vec<(&'static str, &'static str)>,
}

fn specification() -> Vec<Spec> {
    let mut class = ("", 0);
    let mut methods = Vec::new();
    let joined = SPECIFICATION.replace(",\n", ",");
    for line in Box::leak(joined.into_boxed_str()).lines() {
        let (head, fields) = line.split_once(": ").unwrap_or((line, ""));
        let (name, id) = head.trim().split_once(' ').expect("a name and an id");
        let id = id.parse().expect("an id");
        if !line.starts_with(' ') {
            class = (name, id);
            continue;
        }
        let fields = fields.split(',').filter(|field| !field.is_empty());
        methods.push(Spec {
            class: class.0,
            name,
            ids: (class.1, id),
            fields: fields.map(|field| field.trim().split_once(' ').expect("a type")).collect(),
        });
    }
    methods
}

impl Spec {
    /// Bit fields are true where `bits` has a one, counted over all of the method's.
    fn payload(&self, bits: u16, zero_reserved: bool) -> Vec<u8> {
        let mut payload = [self.ids.0.to_be_bytes(), self.ids.1.to_be_bytes()].concat();
        let (mut bit, mut in_octet) = (0, 0);
        for (index, &(name, kind)) in self.fields.iter().enumerate() {
            let zero = zero_reserved && is_reserved(name);
            if kind == "bit" {
                if in_octet == 0 {
                    payload.push(0);
                }
                let value = u8::from(bits >> bit & 1 == 1 && !zero);
                *payload.last_mut().expect("just pushed") |= value << in_octet;
                (bit, in_octet) = (bit + 1, (in_octet + 1) % 8);
                continue;
            }
            in_octet = 0;
            let n = if zero { 0 } else { value(index) };
            let text = if zero { String::new() } else { text(index) };
            match kind {
                "octet" => payload.push(n),
                "short" => payload.extend([0, n]),
                "long" => payload.extend([0, 0, 0, n]),
                "longlong" => payload.extend([0, 0, 0, 0, 0, 0, 0, n]),
                "shortstr" => {
                    payload.push(text.len() as u8);
                    payload.extend(text.bytes());
                }
                "longstr" => {
                    payload.extend((text.len() as u32).to_be_bytes());
                    payload.extend(text.bytes());
                }
                "table" => payload.extend([0, 0, 0, 4, 1, b'k', b'B', n]),
                unknown => panic!("{unknown}"),
            }
        }
        payload
    }

    /// What the decoded method must print: every field's name and value.
    fn debug(&self, bits: u16) -> String {
        let mut bit = 0;
        let mut fields = Vec::new();
        for (index, &(name, kind)) in self.fields.iter().enumerate() {
            let value = match kind {
                _ if is_secret(self.class, name) => "[redacted]".to_owned(),
                "bit" => {
                    bit += 1;
                    (bits >> (bit - 1) & 1 == 1).to_string()
                }
                "shortstr" | "longstr" => format!("{:?}", text(index)),
                "table" => format!("{{\"k\": U8({})}}", value(index)),
                _ => value(index).to_string(),
            };
            if !is_reserved(name) {
                let name = if name == "type" { "exchange-type" } else { name };
                fields.push(format!("{}: {value}", name.replace('-', "_")));
            }
        }
        let (class, method) = (camel_case(self.class), camel_case(self.name));
        match fields.as_slice() {
            [] => format!("{class}({method}({method}))"),
            fields => format!("{class}({method}({method} {{ {} }}))", fields.join(", ")),
        }
    }
}

/// A number for the field at `index`, unlike that of any other.
fn value(index: usize) -> u8 {
    100 + index as u8
}

fn text(index: usize) -> String {
    format!("text {index}")
}

fn is_reserved(field: &str) -> bool {
    field.starts_with("reserved") || field == "no-wait" || field == "nowait"
}

fn is_secret(class: &str, field: &str) -> bool {
    class == "connection" && (field == "response" || field == "new-secret")
}

fn camel_case(name: &str) -> String {
    let words = name.split('-');
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[test]
fn the_specification_has_all_methods() {
    assert_eq!(specification().len(), 64);
}

#[test]
fn every_method_is_as_specified() {
    for spec in specification() {
        let bit_fields = spec.fields.iter().filter(|(_, kind)| *kind == "bit").count();
        for bits in 0..1 << bit_fields {
            let payload = spec.payload(bits, false);
            let method = Method::decode(&payload).expect("a payload as specified");
            assert_eq!(format!("{method:?}"), spec.debug(bits));
            assert_eq!(method.name(), format!("{}.{}", spec.class, spec.name));
            assert_eq!(method.ids(), spec.ids);

            let mut encoded = Vec::new();
            method.encode(&mut encoded).expect("what was decoded can be encoded");
            assert_eq!(encoded, spec.payload(bits, true), "{method:?}");
        }
    }
}

#[test]
fn what_is_not_specified_is_unknown() {
    let known: Vec<_> = specification().iter().map(|spec| spec.ids).collect();
    for (class_id, method_id) in (0..=110).flat_map(|class| (0..=130).map(move |id| (class, id))) {
        let ids = [u16::to_be_bytes(class_id), u16::to_be_bytes(method_id)].concat();
        let payload = [ids, vec![0; 64]].concat();
        let decoded = Method::decode(&payload);
        if known.contains(&(class_id, method_id)) {
            assert_eq!(decoded.map(|method| method.ids()), Ok((class_id, method_id)));
        } else {
            let unknown = DecodeError::UnknownMethod { class_id, method_id };
            assert_eq!(unknown.reply_code(), 540);
            assert_eq!(decoded, Err(unknown));
        }
    }
}

#[test]
fn requests_have_their_replies() {
    fn check<M>()
    where
        M: Request,
        M::Reply: EncodeMethod,
    {
        assert_eq!(M::Reply::NAME, format!("{}-ok", M::NAME));
    }
    check::<connection::Open>();
    check::<connection::Close>();
    check::<connection::UpdateSecret>();
    check::<channel::Open>();
    check::<channel::Flow>();
    check::<channel::Close>();
    check::<exchange::Declare>();
    check::<exchange::Delete>();
    check::<exchange::Bind>();
    check::<exchange::Unbind>();
    check::<queue::Declare>();
    check::<queue::Bind>();
    check::<queue::Unbind>();
    check::<queue::Purge>();
    check::<queue::Delete>();
    check::<basic::Qos>();
    check::<basic::Consume>();
    check::<basic::Cancel>();
    check::<basic::Recover>();
    check::<confirm::Select>();
    check::<tx::Select>();
    check::<tx::Commit>();
    check::<tx::Rollback>();
}

#[test]
fn defaults_that_are_not_zero() {
    assert_eq!(exchange::Declare::default().exchange_type, "direct");
    assert!(basic::Reject::default().requeue);
    assert!(basic::Nack::default().requeue);
    assert!(!basic::Recover::default().requeue);
}

#[test]
fn secrets_are_not_printed() {
    let start_ok = connection::StartOk { response: "hunter2".into(), ..Default::default() };
    let secure_ok = connection::SecureOk { response: "hunter2".into() };
    let update = connection::UpdateSecret { new_secret: "hunter2".into(), reason: "old".into() };
    for method in [
        connection::Method::StartOk(start_ok),
        connection::Method::SecureOk(secure_ok),
        connection::Method::UpdateSecret(update),
    ] {
        for printed in [format!("{method:?}"), format!("{method:#?}")] {
            assert!(printed.contains("[redacted]"), "{printed}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }
}
