"""compare.py FOLDER GOLDEN [--write]: FOLDER/*.out beside the golden file, or into it."""
import glob
import json
import os
import struct
import sys

import numpy as np

folder, golden = sys.argv[1:3]
outputs = {os.path.basename(p)[:-4]: np.fromfile(p, "<f4") for p in glob.glob(folder + "/*.out")}
assert outputs, "no output"
if "--write" in sys.argv:
    header, blob = {"__metadata__": {"made_by": "tests/nam/core.sh --write"}}, b""
    for name in sorted(outputs):
        header[name] = {"dtype": "F32", "shape": [outputs[name].size],
                        "data_offsets": [len(blob), len(blob) + outputs[name].nbytes]}
        blob += outputs[name].tobytes()
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    open(golden, "wb").write(struct.pack("<Q", len(text)) + text + blob)
    sys.exit(0)
data = open(golden, "rb").read()
(size,) = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + size])
failed = sorted(set(header) - {"__metadata__"}) != sorted(outputs)
if failed:
    print("FAILED: the golden file holds other cases:", sorted(header))
for name in sorted(outputs):
    begin, end = header[name]["data_offsets"] if name in header else (0, 0)
    want = np.frombuffer(data[8 + size + begin:8 + size + end], "<f4")
    error = np.abs(want - outputs[name]).max() if want.size == outputs[name].size else np.inf
    bound = 1e-5 * np.abs(outputs[name]).max()
    print("%-16s largest sample %.4f, largest difference %.2g" % (name, np.abs(outputs[name]).max(), error))
    failed = failed or not error <= bound
sys.exit(1 if failed else 0)
