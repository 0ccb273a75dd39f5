//! What plays a tunnel to a box: a program of a few lines, as the plugins of AWS are one.

/// A Python program whose input and output are a connection to an address and a port, its arguments.
pub const TUNNEL: &str = "\
import os, select, socket, sys
box = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
\x20   for ready in select.select([0, box], [], [])[0]:
\x20       data = os.read(0, 65536) if ready == 0 else box.recv(65536)
\x20       if not data:
\x20           sys.exit()
\x20       (box.sendall if ready == 0 else lambda data: os.write(1, data))(data)
";
