//! The rates that are compared: with one channel or consumer, and with many.

/// Channels of one connection.
pub const CHANNELS: usize = 2000;
pub const CONSUMERS: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Publishes over the first `used` of the channels that are open, in turn.
    Publish { channels: usize, used: usize },
    /// Consumes by consumers that are served in turn, spread over the channels.
    Consume { consumers: usize, channels: usize, tags: Tags, ack: bool },
}

/// Whose the consumer tags are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// The client's: they say where to find the consumer.
    Own,
    /// The user's: looked for where the last one was and next to it, and then by their hash.
    Chosen,
}

/// The same work with one, which comes first, and with many.
pub struct Group {
    pub name: &'static str,
    pub cases: [(&'static str, Load); 3],
}

pub fn groups() -> [Group; 5] {
    let publish = |channels, used| Load::Publish { channels, used };
    let consume = |name, tags, ack| {
        let load = |consumers, channels| Load::Consume { consumers, channels, tags, ack };
        let cases = [
            ("one consumer", load(1, 1)),
            ("1000 consumers on one channel", load(CONSUMERS, 1)),
            ("1000 consumers on 1000 channels", load(CONSUMERS, CONSUMERS)),
        ];
        Group { name, cases }
    };
    let cases = [
        ("one channel", publish(1, 1)),
        ("one of 2000 channels", publish(CHANNELS, 1)),
        ("2000 channels in turn", publish(CHANNELS, CHANNELS)),
    ];
    [
        Group { name: "publish", cases },
        consume("consume", Tags::Own, false),
        consume("consume_chosen_tags", Tags::Chosen, false),
        consume("consume_ack", Tags::Own, true),
        consume("consume_ack_chosen_tags", Tags::Chosen, true),
    ]
}

impl Load {
    pub fn name(self) -> String {
        format!("{self:?}").replace(' ', "")
    }

    pub fn from_name(name: &str) -> Option<Self> {
        let all = groups().into_iter().flat_map(|group| group.cases).map(|(_, load)| load);
        all.into_iter().find(|load| load.name() == name)
    }
}
