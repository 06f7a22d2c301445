#include "host/report/style.h"

namespace cafx {

namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--bg:#fbfaf7;--card:#fff;--ink:#1d2126;--soft:#5f6771;--rule:#e2dfd8;--a:#1f6feb;--b:#d1495b;--c:#23865f;--d:#7a5cc9}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e8e6e1;--soft:#a0a8b2;--rule:#30363d;--a:#6ea8fe;--b:#ff8b94;--c:#5fd3a2;--d:#b7a3f0}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:980px;margin:0 auto;padding:36px 20px 80px}h1{font-size:1.9rem;line-height:1.2;margin:0 0 6px;overflow-wrap:anywhere}h2{margin:48px 0 12px;font-size:1.25rem}h3{margin:0;font-size:1.05rem;overflow-wrap:anywhere}h4{margin:22px 0 6px;font-size:.95rem}
p{margin:0 0 10px;max-width:72ch}.quiet,figcaption,.legend,th{color:var(--soft)}.quiet,figcaption,.legend{font-size:.88rem}figure{margin:0 0 18px;min-width:0}
.eyebrow{color:var(--soft);font-size:.8rem;letter-spacing:.08em;text-transform:uppercase;margin:0 0 6px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px;margin:22px 0}
.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:14px 16px;font-size:.88rem;color:var(--soft);overflow-wrap:anywhere}.card b{display:block;font-size:1.6rem;line-height:1.35;color:var(--ink);font-variant-numeric:tabular-nums}
.note{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:18px;margin:0 0 22px}
.players{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px;margin:12px 0}.players figure{margin:0}audio{width:100%;height:38px;display:block}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:14px}
.scroll{overflow-x:auto;margin:0 0 10px}figcaption{max-width:72ch}table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}td,th{padding:6px 10px;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}th{font-weight:500}td:first-child,th:first-child,td.words,th.words{text-align:left}tr.sum td{font-weight:600;border-bottom:0}
.plot{padding:8px 12px 44px 62px}.plot.bare{padding-bottom:8px}svg.chart{display:block;width:100%;overflow:visible}svg text{fill:var(--soft);font:11px system-ui,sans-serif;font-variant-numeric:tabular-nums}svg text.name{font-size:12px}
.halo{paint-order:stroke;stroke:var(--bg);stroke-width:4px}.grid{stroke:var(--rule)}.axis,.tick{stroke:var(--soft)}.mark{stroke:var(--soft);stroke-dasharray:3 4}
.line,.filters .grid{vector-effect:non-scaling-stroke}.line{fill:none;stroke:var(--a);stroke-width:1.6;stroke-linejoin:round}.line.b{stroke:var(--b)}.line.c{stroke:var(--c)}.line.d{stroke:var(--d)}.line.thin{stroke-width:1;opacity:.7}.line.dot{stroke-width:5;stroke-linecap:round}.line.dash{stroke:var(--soft);stroke-dasharray:4 4}
.area{fill:var(--a)}.area.b{fill:var(--b)}.area.c{fill:var(--c)}
.legend{margin:0 0 0 62px}.key{margin-right:16px;white-space:nowrap}.key::before{content:"";display:inline-block;width:18px;height:3px;margin-right:6px;vertical-align:middle;background:var(--a)}.key.b::before{background:var(--b)}.key.c::before{background:var(--c)}.key.d::before{background:var(--d)}.key.dash::before{background:var(--soft)}
.bar{display:inline-block;width:120px;height:10px;border-radius:5px;margin-right:8px;vertical-align:middle}
pre{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px;font-size:.82rem;line-height:1.5}details{margin:0 0 10px}summary{cursor:pointer}
.filters{display:grid;grid-template-columns:repeat(auto-fill,minmax(100px,1fr));gap:8px;margin:0 0 10px}.filters figure{margin:0}.filters svg{display:block;width:100%;height:56px;background:var(--card);border:1px solid var(--rule);border-radius:6px}.filters figcaption{font-size:.75rem;text-align:center}
@media(max-width:560px){main{padding:24px 14px 60px}.note{padding:14px 12px}.plot{padding-left:50px;padding-right:6px}.legend{margin-left:0}}
@media print{.players{display:none}}
)";

}  // namespace

const char* page_style() { return kStyle; }

}  // namespace cafx
