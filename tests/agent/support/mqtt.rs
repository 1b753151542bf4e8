//! MQTT 3.1.1 and 5 on the wire, as far as the fault proxy needs it.

/// The kinds of packets that publishing takes, and their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketKind {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
}

impl PacketKind {
    /// The kind of the packet that begins with this byte.
    pub fn of(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            _ => return None,
        })
    }

    /// Whether a client that only publishes sends it; a DISCONNECT, which both may send, counts as the client's.
    pub fn is_sent_by_clients(self) -> bool {
        match self {
            Self::Connect | Self::Publish | Self::Pubrel | Self::Pingreq | Self::Disconnect => true,
            Self::Connack | Self::Puback | Self::Pubrec | Self::Pubcomp | Self::Pingresp => false,
        }
    }
}

/// Where a byte stands in its packet, followed over pieces of any size.
#[derive(Debug, Clone, Copy, Default)]
pub enum Frames {
    #[default]
    Start,
    /// In the remaining length, so many of whose bits are known.
    Length { value: usize, bits: u32 },
    /// So many bytes before the next packet; at least one.
    Body { left: usize },
}

impl Frames {
    pub fn advance(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            *self = match *self {
                Self::Start => Self::Length { value: 0, bits: 0 },
                Self::Length { value, bits } => {
                    let value = value | usize::from(byte & 0x7f) << bits;
                    match (byte & 0x80, value) {
                        (0, 0) => Self::Start,
                        (0, left) => Self::Body { left },
                        // No packet has more than four bytes of length; a stream that is not MQTT may.
                        _ => Self::Length { value, bits: (bits + 7).min(28) },
                    }
                }
                Self::Body { left } if left > rest.len() => {
                    *self = Self::Body { left: left - rest.len() };
                    return;
                }
                Self::Body { left } => {
                    rest = &rest[left..];
                    *self = Self::Start;
                    continue;
                }
            };
            rest = tail;
        }
    }

    /// How many of these bytes come before the first packet of this kind that begins in them; all, when none does.
    pub fn before(mut self, kind: PacketKind, bytes: &[u8]) -> usize {
        let mut position = 0;
        while position < bytes.len() {
            let step = match self {
                Self::Start if PacketKind::of(bytes[position]) == Some(kind) => return position,
                Self::Start | Self::Length { .. } => 1,
                Self::Body { left } => left.min(bytes.len() - position),
            };
            self.advance(&bytes[position..position + step]);
            position += step;
        }
        position
    }
}
