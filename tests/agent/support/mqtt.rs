//! MQTT 3.1.1 and 5 on the wire, as far as the fault proxy and the scripted broker need it.

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

    /// Adds up the packets that begin in these bytes, by the number of their kind.
    pub fn count(mut self, bytes: &[u8], counts: &mut [u64; 16]) {
        for byte in bytes {
            if let Self::Start = self {
                counts[usize::from(byte >> 4)] += 1;
            }
            self.advance(std::slice::from_ref(byte));
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

/// A whole packet.
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
    /// Bytes on the wire, the header included.
    pub size: usize,
}

impl Packet {
    /// Takes the first packet out of what was received; `None` while it is not whole.
    pub fn take(received: &mut Vec<u8>) -> Option<Self> {
        let &first = received.first()?;
        let mut reader = Reader(&received[1..]);
        let length = reader.number()?;
        let body = reader.take(length)?.to_vec();
        let size = received.len() - reader.0.len();
        received.drain(..size);
        Some(Self { first, body, size })
    }

    pub fn kind(&self) -> Option<PacketKind> {
        PacketKind::of(self.first)
    }

    /// The packet id with which an answer or a release begins.
    pub fn id(&self) -> Option<u16> {
        Reader(&self.body).u16()
    }
}

/// What a client said when it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// 4 is MQTT 3.1.1.
    pub version: u8,
    /// Clean start, or clean session in 3.1.1.
    pub clean: bool,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub has_will: bool,
    /// The will's, where there is one.
    pub will_retain: bool,
    pub will_qos: u8,
}

impl Connect {
    pub fn decode(packet: &Packet) -> Option<Self> {
        let mut reader = Reader(&packet.body);
        let (name, version, flags, _keep_alive) = (reader.text()?, reader.u8()?, reader.u8()?, reader.u16()?);
        if name != "MQTT" || !matches!(version, 4 | 5) {
            return None;
        }
        let skip_properties = |reader: &mut Reader| {
            let length = if version == 5 { reader.number()? } else { 0 };
            reader.take(length).map(drop)
        };
        skip_properties(&mut reader)?;
        let (client_id, has_will) = (reader.text()?, flags & 4 != 0);
        if has_will {
            skip_properties(&mut reader)?;
            reader.text()?;
            reader.bytes()?;
        }
        let username = if flags & 0x80 != 0 { Some(reader.text()?) } else { None };
        let password = if flags & 0x40 != 0 { Some(reader.text()?) } else { None };
        let (will_retain, will_qos) = (flags & 0x20 != 0, flags >> 3 & 3);
        let clean = flags & 2 != 0;
        Some(Self { version, clean, client_id, username, password, has_will, will_retain, will_qos })
    }
}

/// A message as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    /// None at QoS 0.
    pub packet_id: Option<u16>,
    pub dup: bool,
    pub retain: bool,
    pub content_type: Option<String>,
    /// Seconds.
    pub expiry: Option<u32>,
    pub user_properties: Vec<(String, String)>,
}

impl Publish {
    pub fn decode(packet: &Packet, version: u8) -> Option<Self> {
        let (qos, dup, retain) = (packet.first >> 1 & 3, packet.first & 8 != 0, packet.first & 1 != 0);
        let mut reader = Reader(&packet.body);
        let topic = reader.text()?;
        let packet_id = match qos {
            0 => None,
            1 | 2 => Some(reader.u16().filter(|id| *id > 0)?),
            _ => return None,
        };
        let (content_type, expiry, user_properties, payload) = (None, None, vec![], vec![]);
        let mut publish = Self { topic, payload, qos, packet_id, dup, retain, content_type, expiry, user_properties };
        if version == 5 {
            let length = reader.number()?;
            publish.read_properties(Reader(reader.take(length)?))?;
        }
        publish.payload = reader.0.to_vec();
        Some(publish)
    }

    fn read_properties(&mut self, mut reader: Reader) -> Option<()> {
        while !reader.0.is_empty() {
            match reader.u8()? {
                0x01 => drop(reader.u8()?),
                0x02 => self.expiry = Some(u32::from(reader.u16()?) << 16 | u32::from(reader.u16()?)),
                0x03 => self.content_type = Some(reader.text()?),
                0x08 => drop(reader.text()?),
                0x09 => drop(reader.bytes()?),
                0x26 => self.user_properties.push((reader.text()?, reader.text()?)),
                // The others do not belong here, or (an alias of a topic) only if the broker had said so.
                _ => return None,
            }
        }
        Some(())
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A number of one to four bytes.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for bits in [0, 7, 14, 21] {
            let byte = self.u8()?;
            number |= usize::from(byte & 0x7f) << bits;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(number)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

/// A packet.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut packet, mut length) = (vec![first], body.len());
    loop {
        let digit = u8::try_from(length % 0x80).unwrap();
        length /= 0x80;
        packet.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// A CONNACK; the limits are MQTT 5's.
pub fn connack(
    version: u8,
    session_present: bool,
    code: u8,
    receive_maximum: u16,
    packet_maximum: Option<u32>,
) -> Vec<u8> {
    let mut body = vec![u8::from(session_present), code];
    if version == 5 {
        let mut properties = vec![0x21];
        properties.extend(receive_maximum.to_be_bytes());
        if let Some(maximum) = packet_maximum {
            properties.push(0x27);
            properties.extend(maximum.to_be_bytes());
        }
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend(properties);
    }
    packet((PacketKind::Connack as u8) << 4, &body)
}

/// A PUBACK, PUBREC or PUBCOMP; its reason code is MQTT 5's.
pub fn answer(kind: PacketKind, version: u8, id: u16, code: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == 5 && code != 0 {
        body.push(code);
    }
    packet((kind as u8) << 4, &body)
}
