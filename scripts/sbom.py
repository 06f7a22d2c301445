"""scripts/sbom.py WHEEL: what the wheel bundles, written into it, and refused where its licence does not go with Apache-2.0.

For each library beside the package: the Debian package and version that it came from, its licence (SPDX), and Debian's copyright
file. Written to the wheel's .dist-info as sboms/cafx.cdx.json (CycloneDX 1.5) and licenses/bundled/PACKAGE.txt, with the licences that these
name of /usr/share/common-licenses; a table goes to standard output. Run by scripts/wheel.sh, on the system that the libraries came from.
"""
import base64
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

# Read in each package's copyright file. All may be linked by a program under Apache-2.0; those under the LGPL as shared libraries,
# which whoever has the wheel may replace.
LICENCES = {
    "libFLAC": "BSD-3-Clause", "libbz2": "bzip2-1.0.6", "libfmt": "MIT", "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgsm": "TU-Berlin-2.0", "libkissfft-float": "BSD-3-Clause", "libltdl": "LGPL-2.0-or-later", "liblzma": "0BSD",
    "libmagic": "BSD-2-Clause", "libmp3lame": "LGPL-2.0-or-later", "libmpg123": "LGPL-2.1-only", "libogg": "BSD-3-Clause",
    "libonnx": "Apache-2.0", "libonnx_proto": "Apache-2.0", "libopus": "BSD-3-Clause", "libpng16": "libpng-2.0",
    "libprotobuf": "BSD-3-Clause", "libsndfile": "LGPL-2.1-or-later", "libsox": "LGPL-2.1-or-later", "libsoxr": "LGPL-2.1-or-later",
    "libsqlite3": "blessing", "libtomlplusplus": "MIT", "libvorbis": "BSD-3-Clause", "libvorbisenc": "BSD-3-Clause", "libxxhash": "BSD-2-Clause", "libz": "Zlib",
}
# Up to 5.4, which Debian 12 has, liblzma is in the public domain.
PUBLIC_DOMAIN = {"liblzma": re.compile(r"5\.[0-4]\.")}
# In cafx itself, as headers.
HEADERS = {"libcli11-dev": "BSD-3-Clause", "nlohmann-json3-dev": "MIT"}


def version_of(package):
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True).stdout


def package_of(stem):
    """The package that has STEM.so.N, as this system's loader knows it."""
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    found = re.search(rf"\s{re.escape(stem)}\.so\S* .*=> (\S+)", cache)
    if not found:
        sys.exit(f"FAILED: {stem} is bundled, and this system has no such library")
    for path in (Path(found[1]), Path(found[1]).resolve(), Path("/usr" + found[1])):
        owner = subprocess.run(["dpkg-query", "-S", str(path)], capture_output=True, text=True).stdout
        if owner:
            return owner.split(":")[0]
    sys.exit(f"FAILED: no package has {found[1]}")


def main(path):
    with zipfile.ZipFile(path) as wheel:
        files = {i.filename: (i, wheel.read(i)) for i in wheel.infolist()}
    info = next(name.split("/")[0] for name in files if ".dist-info/" in name)
    components, texts = [], {}
    stems = {}
    for name in files:
        found = re.match(r"[^/]+\.libs/(lib[^/]+?)(-[0-9a-f]{8})?(\.so[^/]*)?$", name)
        if found:
            stem = re.split(r"\.so|-[0-9a-f]{8}", found[1])[0]
            # libprotobuf-3.21.so and the like carry their version before the suffix.
            stems[next((s for s in (stem, re.sub(r"-[0-9.]+$", "", stem)) if s in LICENCES), stem)] = name
    for stem, name in sorted(stems.items()):
        if stem not in LICENCES:
            sys.exit(f"FAILED: the licence of {name} is not known; read its copyright file and add it to scripts/sbom.py")
        components.append((package_of(stem), LICENCES[stem], name))
    components += [(package, licence, "headers") for package, licence in HEADERS.items()]
    listed = []
    for package, licence, name in components:
        version = version_of(package)
        text = Path(f"/usr/share/doc/{package}/copyright").read_bytes()
        if any(package.startswith(stem) and old.match(version) for stem, old in PUBLIC_DOMAIN.items()):
            licence = "LicenseRef-public-domain"
        print(f"{package:24} {version:28} {licence:44} {name}")
        listed.append({"type": "library", "name": package, "version": version, "licenses": [{"expression": licence}],
                       "purl": f"pkg:deb/debian/{package}@{version}", "properties": [{"name": "cafx:file", "value": name}]})
        texts[f"{info}/licenses/bundled/{package}.txt"] = text
        for name in set(re.findall(rb"common-licenses/([A-Za-z]+(?:-[0-9.]*[0-9])?)", text)):  # which only Debian's systems have
            whole = Path("/usr/share/common-licenses", name.decode())
            if whole.exists():
                texts[f"{info}/licenses/bundled/{whole.name}.txt"] = whole.read_bytes()
    about = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": listed,
             "metadata": {"component": {"type": "application", "name": "cafx-audio", "version": info.split("-")[1].removesuffix(".dist"),
                                        "licenses": [{"license": {"id": "Apache-2.0"}}]}}}
    texts[f"{info}/sboms/cafx.cdx.json"] = json.dumps(about, indent=1).encode()
    record = [line for line in files.pop(f"{info}/RECORD")[1].decode().splitlines() if line.split(",")[0] not in texts]
    for name, text in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
        record.insert(-1, f"{name},sha256={digest},{len(text)}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for name, (entry, data) in files.items():
            if name not in texts:
                entry.compress_type = zipfile.ZIP_DEFLATED
                wheel.writestr(entry, data)
        for name, text in texts.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "\n".join(record) + "\n")


main(sys.argv[1])
