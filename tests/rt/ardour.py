"""ardour.py CAFX PROJECT BUNDLE: the plugin in Ardour, without its window, on a JACK server without a sound card.

A bus with the plugin and the preset of one model is made and saved as a session; Ardour starts again, opens the session, and what
it plays is what `cafx render` writes, to the bit; then another preset is chosen while it plays. A minute. Exit code 77: skipped.
"""
import os
import subprocess
import tempfile
import time

from jack import LATENCY, Jack, Models, check, finish, need, signal

BLOCK = 256
MAKE = """AudioEngine:set_backend("JACK", "ardour", "")
local s = create_session("%(work)s/session", "session", 16000)
local list = s:new_audio_route(1, 1, nil, 1, "bus", ARDOUR.PresentationInfo.Flag.AudioBus, -1)
local bus = list:front()
local plugin = ARDOUR.LuaAPI.new_plugin(s, "urn:cafx:player", ARDOUR.PluginType.LV2, "a")
bus:add_processor_by_index(plugin, 0, nil, true)
ARDOUR.LuaAPI.usleep(1000000)
print("latency " .. bus:signal_latency())
s:save_state("", false, false, false, false, false)
close_session()
"""
PLAY = """AudioEngine:set_backend("JACK", "ardour", "")
local s = load_session("%(work)s/session", "session")
local bus = s:route_by_name("bus")
local plugin = bus:nth_plugin(0):to_insert():plugin(0)
io.open("%(work)s/ready", "w"):close()
local function wait(name)
  for _ = 1, 1200 do
    local f = io.open("%(work)s/" .. name)
    if f then f:close() return end
    ARDOUR.LuaAPI.usleep(100000)
  end
end
wait("change")
plugin:load_preset(plugin:preset_by_label("b"))
wait("end")
close_session()
"""
need("jackd", "ardour7-lua")
with tempfile.TemporaryDirectory() as work:
    os.environ["HOME"] = work
    os.makedirs(f"{work}/.config/ardour7")  # its ports resample otherwise, for varispeed, even where the speed is 1
    with open(f"{work}/.config/ardour7/config", "w") as f:
        f.write('<Ardour><Config><Option name="port-resampler-quality" value="0"/></Config></Ardour>')
    models, x = Models(work), signal()
    jack, ardour = Jack(work, BLOCK, freewheel=False), None
    try:
        with open(f"{work}/ardour.log", "w+") as log:
            def start(script):
                with open(f"{work}/script.lua", "w") as f:
                    f.write(script % {"work": work})
                return subprocess.Popen(["ardour7-lua", f"{work}/script.lua"], stdout=log, stderr=subprocess.STDOUT)

            def said():
                log.seek(0)
                return log.read()

            ardour = start(MAKE)
            check(ardour.wait(120) == 0, f"the session was not made: {said()}")
            check("latency 255" in said(), f"the plugin's latency is not the bus's: {said()}")
            text = open(f"{work}/session/session.ardour").read()
            check("urn:cafx:player" in text, "the session holds no plugin")
            ardour = start(PLAY)
            end = time.time() + 120
            while not os.path.exists(f"{work}/ready") and ardour.poll() is None and time.time() < end:
                time.sleep(0.1)
            jack.connect(b"player:port", b"ardour:bus/audio_in 1")
            jack.connect(b"ardour:bus/audio_out 1", b"keeper:port")

            def settled(name):
                end = time.time() + 60
                while time.time() < end:
                    y = jack.through(x, LATENCY)[LATENCY:]
                    if models.plays(name, x, y, BLOCK):
                        return True
                return False

            check(settled("a"), f"the opened session does not play the bits of cafx render: {said()}")
            open(f"{work}/change", "w").close()
            check(settled("b"), f"after the change not the other model's bits: {said()}")
            open(f"{work}/end", "w").close()
            ardour.wait(60)
    finally:
        if ardour and ardour.poll() is None:
            ardour.kill()
            ardour.wait()
        jack.close()
finish()
