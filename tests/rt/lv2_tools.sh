#!/usr/bin/env bash
# lv2_tools.sh BUNDLE [URI]: its data is valid, LV2's tools see the plugin, and lv2bench runs it.
set -u
bundle=$1 uri=${2:-urn:cafx:player}
for tool in lv2_validate sord_validate lv2info lv2bench; do
  command -v $tool >/dev/null || { echo "skipped: no $tool (lv2-dev, sordi, lilv-utils)"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
lv2_validate "$bundle/manifest.ttl" "$bundle/cafx.ttl" >"$work/out" 2>&1 || { cat "$work/out"; echo "FAILED: lv2_validate"; failed=1; }
mkdir "$work/lv2" && cp -r "$bundle" "$work/lv2/cafx.lv2"
for lv2 in /usr/lib/lv2 /usr/lib/*/lv2; do # the specifications, for lv2info
  for spec in core units patch; do [ -d "$lv2/$spec.lv2" ] && ln -sf "$lv2/$spec.lv2" "$work/lv2/"; done
done
export LV2_PATH=$work/lv2
lv2info "$uri" >"$work/info" 2>"$work/err" || { cat "$work/err"; echo "FAILED: lv2info"; failed=1; }
[ -s "$work/err" ] && { cat "$work/err"; echo "FAILED: lv2info complains"; failed=1; }
grep -q 'Has latency: *yes' "$work/info" || { cat "$work/info"; echo "FAILED: it reports no latency"; failed=1; }
# lv2apply cannot: it offers no urid:map, which the plugin needs.
lv2bench "$uri" >"$work/bench" 2>&1 && grep -qF "$uri" "$work/bench" || { cat "$work/bench"; echo "FAILED: lv2bench"; failed=1; }
# lv2lint is not in Debian; where somebody built it, no test of it may fail or warn, but for an address and a home page.
if command -v lv2lint >/dev/null; then
  LV2_PATH=$work/lv2:/usr/lib/lv2 lv2lint -M pack -S warn -E warn -t 'Plugin Author Email' -t 'Plugin Author Homepage' -I "$work/lv2/cafx.lv2/" "$uri" \
    >"$work/lint" 2>&1 || { cat "$work/lint"; echo "FAILED: lv2lint"; failed=1; }
fi
[ $failed = 0 ] && echo "all as expected"
exit $failed
