#!/usr/bin/env python3
"""Writes a small corpus for each fuzzer: seeds.py FOLDER. Each kind of packet, plain and with properties."""
import pathlib, sys

def number(n):
    out = b''
    while True:
        n, digit = n >> 7, n & 127
        out += bytes([digit | (128 if n else 0)])
        if not n:
            return out

def text(t): return len(t).to_bytes(2, 'big') + t
def properties(*p): return number(len(b''.join(p))) + b''.join(p)

reason, pair = b'\x1f' + text(b'why'), b'\x26' + text(b'key') + text(b'value')
bodies = {  # by type, for MQTT 3.1.1 and 5
    2: ([b'\0\0', b'\1\0', b'\0\5'], [b'\0\0' + properties(), b'\0\0' + properties(b'\x21\0\x0a', b'\x22\0\x0a', b'\x11\0\0\0\x0a',
        b'\x12' + text(b'id'), b'\x24\1', b'\x25\1', b'\x27\0\1\0\0', b'\x13\0\x1e', reason, pair), b'\0\x9c' + properties(b'\x1c' + text(b'other'))]),
    3: ([text(b'a/b') + b'payload', text(b'a/b') + b'\0\1payload'], [text(b'a/b') + properties(b'\1\1', b'\2\0\0\0\1', b'\3' + text(b't'), b'\x08' + text(b'r'),
        b'\x09' + text(b'c'), b'\x0b\x81\x01', b'\x23\0\1', pair) + b'payload', text(b'a/b') + b'\0\1' + properties() + b'x']),
    4: ([b'\0\1'], [b'\0\1', b'\0\1\x10', b'\0\1\x97' + properties(reason, pair)]),
    5: ([b'\0\3'], [b'\0\3', b'\0\3\0' + properties(reason, pair), b'\0\3\x97']),
    6: ([b'\0\1'], [b'\0\1', b'\0\1\x92' + properties(pair)]),
    7: ([b'\0\3'], [b'\0\3', b'\0\3\x92' + properties(reason, pair)]),
    9: ([b'\0\1\0', b'\0\1\x80\1'], [b'\0\1' + properties(reason, pair) + b'\0\x80']),
    11: ([b'\0\1'], [b'\0\1' + properties(pair) + b'\0\x11']),
    13: ([b''], [b'']),
    14: ([], [b'', b'\x8b', b'\x9c' + properties(b'\x1c' + text(b'other'), b'\x11\0\0\0\1', reason, pair)]),
    15: ([], [b'', b'\x18' + properties(b'\x15' + text(b'method'), b'\x16' + text(b'data'), reason)]),
}
families = {'connack': [2], 'publish': [3], 'acknowledgements': [4, 5, 6, 7, 9, 11], 'disconnect': [14], 'auth': [15]}
flags = lambda t: [0, 2, 4, 12] if t == 3 else [2] if t == 6 else [0]
folder = pathlib.Path(sys.argv[1])

def write(family, seeds):
    (folder / family).mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(seeds):
        (folder / family / f'seed-{index:03}').write_bytes(seed)

for family, types in families.items():
    first = 4 if family == 'acknowledgements' else types[0]
    write(family, [bytes([v5 | (t - first) << 1, f]) + body for t in types for v5 in (0, 1) for f in flags(t) for body in bodies[t][v5]])
packet = lambda t, f, body: bytes([t << 4 | f]) + number(len(body)) + body
every = [(v5, packet(t, f, body)) for t in bodies for v5 in (0, 1) for f in flags(t) for body in bodies[t][v5]]
frame = lambda first, body: bytes([first, len(body)]) + body
client = [bytes([state << 1 | v5]) + p for v5, p in every for state in (0, 1) if len(p) < 126]
client += [bytes([8 | 2 | v5]) + frame(0x82, p) for v5, p in every if len(p) < 126]
exchange = b'\x40\2\0\1' + b'\x50\2\0\3' + b'\x70\2\0\3' + b'\x50\2\0\4' + b'\x40\2\0\2'
write('client', client + [bytes([2 | v5]) + exchange for v5 in (0, 1)])
web = [frame(0x82, b'hello'), frame(2, b'he') + frame(0x89, b'ping') + frame(0x80, b'llo'), frame(0x88, b'\x03\xe8bye'), frame(0x8a, b''),
       b'\x82\x7e\0\x80' + bytes(128), b'\x82\x7f' + (1 << 16).to_bytes(8, 'big') + bytes(20)]
heads = [b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
         b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n']
write('websocket', [bytes([0, p]) + w for w in web for p in (0, 3, 255)] + [bytes([1, p]) + h for h in heads for p in (0, 7, 255)])
