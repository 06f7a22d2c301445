#!/usr/bin/python3
"""Opens a page in headless Chromium, at phone and desktop width, light and dark: no script error, nothing refused, every picture
and sound loads, nothing is wider than the window. page.py CHROMIUM PAGE.html [FOLDER for screenshots]"""
import os
import re
import subprocess
import sys
import tempfile

PROBE = """<script>
window.problems = [];
window.onerror = (m, f, l) => problems.push('script error: ' + m + ' line ' + l);
addEventListener('load', async () => {
  const wait = (x, good, bad) => new Promise(done => { const end = v => done(v); x.addEventListener(good, () => end(true)); x.addEventListener(bad, () => end(false)); setTimeout(() => end(false), 8000); });
  const pictures = [...document.querySelectorAll('img')], drawn = [...document.querySelectorAll('svg image')], sounds = [...document.querySelectorAll('audio')];
  for (const p of pictures) if (!(p.complete && p.naturalWidth)) problems.push('picture not loaded');
  for (const p of drawn) { const i = new Image(); const w = wait(i, 'load', 'error'); i.src = p.getAttribute('href'); if (!await w) problems.push('drawn picture not loaded'); }
  for (const s of sounds) { if (s.readyState < 1) { const w = wait(s, 'loadedmetadata', 'error'); s.load(); if (!await w) problems.push('sound not loaded: ' + s.ariaLabel); } if (!(s.duration > 0.01)) problems.push('sound without length: ' + s.ariaLabel); }
  const wide = document.documentElement.scrollWidth, window_ = document.documentElement.clientWidth;
  if (wide > window_) { problems.push('page is ' + wide + ' wide in a window of ' + window_);
    for (const e of document.querySelectorAll('main *')) if (e.getBoundingClientRect().right > window_ + 1 && !e.closest('.scroll,pre,svg')) { problems.push('first too wide: ' + e.tagName + '.' + e.className); break; } }
  const ids = new Set([...document.querySelectorAll('[id]')].map(e => e.id));
  for (const a of document.querySelectorAll('a[href^="#"]')) if (!ids.has(a.getAttribute('href').slice(1))) problems.push('link to nowhere: ' + a.getAttribute('href'));
  const r = document.createElement('pre'); r.id = 'probe';
  r.textContent = 'pictures ' + (pictures.length + drawn.length) + ' sounds ' + sounds.length + ' problems ' + problems.length + '|' + problems.join('|');
  document.body.appendChild(r);
});
</script>"""


def run(chromium, url, *options):
    with tempfile.TemporaryDirectory() as profile:
        r = subprocess.run([chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
                            "--user-data-dir=" + profile, *options, url], capture_output=True, timeout=180)
    return r.stdout.decode(errors="replace")


def main():
    chromium, page = sys.argv[1], os.path.abspath(sys.argv[2])
    shots = sys.argv[3] if len(sys.argv) > 3 else None
    failed = False
    with open(page, encoding="utf-8") as file:
        html = file.read()
    if re.search(r'(?:src|href)="(?!data:|#)', html):
        print("something is loaded from outside the page")
        failed = True
    for name, width in (("phone", 390), ("desktop", 1280)):
        # A window of its own width cannot be narrower than about 500 points: a frame can.
        with tempfile.TemporaryDirectory() as t:
            probed, frame = os.path.join(t, "page.html"), os.path.join(t, "frame.html")
            with open(probed, "w", encoding="utf-8") as file:
                file.write(html.replace("<head>", "<head>" + PROBE, 1))
            with open(frame, "w", encoding="utf-8") as file:
                file.write('<body style="margin:0"><iframe id="f" src="page.html" style="border:0;width:%dpx;height:900px"></iframe><script>'
                           'setInterval(() => { const p = document.getElementById("f").contentDocument.getElementById("probe");'
                           ' if (p && !document.getElementById("out")) { const o = document.createElement("pre"); o.id = "out"; o.textContent = p.textContent; document.body.appendChild(o); } }, 100)'
                           '</script>' % width)
            dom = run(chromium, "file://" + frame, "--allow-file-access-from-files", "--virtual-time-budget=60000", "--dump-dom", "--window-size=1400,1000")
            found = re.search(r'id="out">([^<]*)<', dom)
            print("%s: %s" % (name, found.group(1) if found else "no answer from the page"))
            failed |= not found or "problems 0|" not in found.group(1) or "sounds 0" in found.group(1)
            if shots:
                os.makedirs(shots, exist_ok=True)
                for scheme in ("light", "dark"):
                    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else ["--blink-settings=preferredColorScheme=1"]
                    with open(frame, "w", encoding="utf-8") as file:
                        file.write('<body style="margin:0"><iframe src="%s" style="border:0;width:%dpx;height:9000px"></iframe>' % ("file://" + page, width))
                    run(chromium, "file://" + frame, "--allow-file-access-from-files", "--screenshot=" + os.path.join(shots, "%s-%s.png" % (name, scheme)),
                        "--window-size=%d,9000" % max(width, 500), "--virtual-time-budget=8000", *dark)
    return 1 if failed else 0


sys.exit(main())
