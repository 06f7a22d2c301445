#include "host/draw/page.h"

#include <fmt/format.h>

#include "host/draw/svg.h"
#include "host/draw/wav.h"

namespace cafx {

namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--bg:#f7f6f2;--card:#fff;--ink:#1b1f24;--soft:#5d6570;--rule:#e3dfd6;--a:#1f6feb;--b:#d1495b;--c:#23865f;--d:#7a5cc9;--good:#1a7f52;--goodbg:#dff3e8;--mid:#8a6100;--midbg:#fbf0d3;--bad:#b3263b;--badbg:#fbe3e6;--none:#5d6570;--nonebg:#eceae4;--shadow:0 1px 2px rgba(20,20,40,.05),0 8px 24px -12px rgba(20,20,40,.12)}
@media(prefers-color-scheme:dark){:root{--bg:#111418;--card:#191d23;--ink:#e9e7e2;--soft:#9fa8b3;--rule:#2c323a;--a:#6ea8fe;--b:#ff8b94;--c:#5fd3a2;--d:#b7a3f0;--good:#6fdcab;--goodbg:#12352a;--mid:#f0c75e;--midbg:#3a2f10;--bad:#ff9aa5;--badbg:#43191f;--none:#a3abb5;--nonebg:#272c33;--shadow:none}}
*{box-sizing:border-box}html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1140px;margin:0 auto;padding:44px 24px 96px}h1{font-size:clamp(1.7rem,4.6vw,2.6rem);line-height:1.12;letter-spacing:-.02em;margin:0 0 14px;text-wrap:balance;overflow-wrap:anywhere}h2{margin:64px 0 6px;font-size:1.45rem;letter-spacing:-.01em;scroll-margin-top:20px}h3{margin:0;font-size:1.15rem;overflow-wrap:anywhere}h3.table{margin:34px 0 4px;font-size:1.05rem;scroll-margin-top:20px}h4{margin:26px 0 8px;font-size:.78rem;letter-spacing:.07em;text-transform:uppercase;color:var(--soft);font-weight:600}
p{margin:0 0 12px;max-width:74ch}.lead{font-size:1.06rem;color:var(--soft)}.quiet,figcaption,.legend{color:var(--soft);font-size:.88rem}a{color:var(--a)}figure{margin:0 0 18px;min-width:0}figcaption{max-width:74ch;margin-top:6px}
.eyebrow{color:var(--a);font-size:.78rem;font-weight:600;letter-spacing:.1em;text-transform:uppercase;margin:0 0 10px}
nav{display:flex;flex-wrap:wrap;gap:8px;margin:22px 0 0}nav a{font-size:.86rem;text-decoration:none;color:var(--ink);background:var(--card);border:1px solid var(--rule);border-radius:99px;padding:4px 13px}nav a:hover{border-color:var(--a)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;margin:28px 0 0}
.card{background:var(--card);border:1px solid var(--rule);border-radius:14px;padding:16px 18px;font-size:.88rem;color:var(--soft);box-shadow:var(--shadow)}.card{overflow-wrap:anywhere}.card b{display:block;font-size:1.75rem;line-height:1.3;letter-spacing:-.02em;color:var(--ink);font-variant-numeric:tabular-nums}
.claim{display:grid;grid-template-columns:124px 1fr;gap:6px 16px;background:var(--card);border:1px solid var(--rule);border-radius:14px;padding:14px 18px;margin:0 0 10px;box-shadow:var(--shadow)}.claim>div{min-width:0}.claim b{display:block;margin-bottom:2px}
.pill{display:inline-block;font-size:.78rem;font-weight:600;border-radius:99px;padding:2px 11px;white-space:nowrap}.pill.shown{color:var(--good);background:var(--goodbg)}.pill.not-shown{color:var(--mid);background:var(--midbg)}.pill.contradicted{color:var(--bad);background:var(--badbg)}.pill.not-tested,.pill.not-judged{color:var(--none);background:var(--nonebg)}
.pages{columns:240px;padding-left:18px}.claim ul{margin:2px 0 0;padding:0;list-style:none;font-size:.92rem}.claim li{margin:2px 0;font-variant-numeric:tabular-nums}details{margin:2px 0 0;font-size:.88rem;color:var(--soft)}summary{cursor:pointer}details[open]>summary{margin-bottom:6px}
.bars{display:grid;grid-template-columns:minmax(150px,max-content) 1fr;gap:14px 18px;align-items:center;background:var(--card);border:1px solid var(--rule);border-radius:14px;padding:20px;margin:14px 0;box-shadow:var(--shadow)}.bars .who{font-size:.92rem;line-height:1.35}.bars .who small{display:block;color:var(--soft)}
.rod{position:relative;height:15px;margin:3px 0;border-radius:4px;background:var(--rule);overflow:visible}.rod i{position:absolute;inset:0 auto 0 0;border-radius:4px;background:var(--a)}.rod.base i{background:var(--d);opacity:.75}.rod.dry i{background:var(--soft);opacity:.55}.rod span{position:absolute;left:calc(var(--w) + 6px);top:-3px;font-size:.76rem;line-height:21px;white-space:nowrap;font-variant-numeric:tabular-nums}.rod.in span{left:auto;right:calc(100% - var(--w) + 6px);color:#fff}
.scroll{overflow-x:auto;margin:14px 0 10px;background:var(--card);border:1px solid var(--rule);border-radius:14px;box-shadow:var(--shadow)}table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}td,th{padding:7px 12px;text-align:right;white-space:nowrap}th{white-space:normal;min-width:72px;font-weight:500;color:var(--soft);border-bottom:1px solid var(--rule);vertical-align:bottom}td{border-top:1px solid var(--rule)}tr.other td{border-top:0}tr.sum td{font-weight:600}tr.model td{font-weight:600}tr.model td:first-child{font-weight:600}tr.other td{color:var(--soft)}td:first-child,th:first-child,td.words,th.words{text-align:left}td:first-child,th:first-child{position:sticky;left:0;background:var(--card)}td.wrap{white-space:normal;min-width:170px}td small{font-weight:400;color:var(--soft)}td.best{color:var(--good)}
.note{background:var(--card);border:1px solid var(--rule);border-radius:16px;padding:24px;margin:18px 0 26px;box-shadow:var(--shadow);scroll-margin-top:20px}.note>header{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline;justify-content:space-between;margin-bottom:4px}
.players{display:grid;grid-template-columns:repeat(auto-fit,minmax(176px,1fr));gap:14px;margin:14px 0 10px}.players figure{margin:0;border:1px solid var(--rule);border-radius:12px;padding:10px 12px 12px}.players figcaption{margin:0 0 6px;color:var(--ink);font-weight:600;font-size:.86rem}.players figcaption::before{content:"";display:inline-block;width:9px;height:9px;border-radius:9px;margin-right:8px;background:var(--soft)}.players .t figcaption::before{background:var(--a)}.players .o figcaption::before{background:var(--b)}.players .e figcaption::before{background:var(--c)}.players .l figcaption::before{background:var(--d)}audio{width:100%;height:36px;display:block}
.two,.three{display:grid;gap:6px 18px}.two{grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr))}.three{grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr))}.two figure,.three figure{margin-bottom:10px}.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:2px 12px}.sheet .plot{padding:4px 4px 8px 4px}.sheet svg text{display:none}
.plot{padding:8px 12px 44px 60px}.plot.bare{padding-bottom:8px}svg.chart{display:block;width:100%;overflow:visible}svg text{fill:var(--soft);font:11px system-ui,sans-serif;font-variant-numeric:tabular-nums}svg text.name{font-size:12px}.ptitle{font-size:.86rem;font-weight:600;margin:0 0 0 60px}
.halo{paint-order:stroke;stroke:var(--card);stroke-width:4px}.grid{stroke:var(--rule)}.axis,.tick{stroke:var(--soft)}.mark{stroke:var(--soft);stroke-dasharray:3 4}
.line{vector-effect:non-scaling-stroke;fill:none;stroke:var(--a);stroke-width:1.7;stroke-linejoin:round}.line.b{stroke:var(--b)}.line.c{stroke:var(--c)}.line.d{stroke:var(--d)}.line.thin{stroke-width:1;opacity:.6}.line.dot{stroke-width:5;stroke-linecap:round}.line.dot.dots{stroke-width:3.2;opacity:.55}.line.dash{stroke:var(--soft);stroke-dasharray:4 4}
.area{fill:var(--a)}.area.s{fill:var(--soft)}.area.b{fill:var(--b)}.area.c{fill:var(--c)}
.legend{margin:0 0 0 60px}.key{margin-right:16px;white-space:nowrap}.key::before{content:"";display:inline-block;width:16px;height:3px;border-radius:3px;margin-right:7px;vertical-align:middle;background:var(--a)}.key.b::before{background:var(--b)}.key.c::before{background:var(--c)}.key.d::before{background:var(--d)}.key.dash::before{background:var(--soft)}
.legend .bar{display:inline-block;width:120px;height:10px;border-radius:5px;margin-right:8px;vertical-align:middle}
pre{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:14px 16px;font-size:.82rem;line-height:1.55;color:var(--ink)}dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;font-size:.9rem;margin:14px 0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.filters{display:grid;grid-template-columns:repeat(auto-fill,minmax(100px,1fr));gap:8px;margin:14px 0 10px}.filters figure{margin:0}.filters svg{display:block;width:100%;height:56px;background:var(--card);border:1px solid var(--rule);border-radius:8px}.filters .grid{vector-effect:non-scaling-stroke}.filters figcaption{font-size:.75rem;text-align:center;max-width:none;margin-top:2px}
@media(max-width:620px){main{padding:28px 15px 64px}h2{margin-top:48px}.note{padding:16px 13px;border-radius:13px}.claim{grid-template-columns:1fr;padding:13px 14px}.bars{grid-template-columns:1fr;gap:4px;padding:15px}.bars .who{margin-top:8px}.plot{padding-left:48px;padding-right:4px}.legend,.ptitle{margin-left:0}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}td,th{padding:6px 9px}.cards{grid-template-columns:1fr 1fr;gap:10px}.card:last-child:nth-child(odd){grid-column:1/-1}.card{padding:12px 13px}.card b{font-size:1.35rem}td:first-child,th:first-child{min-width:136px;max-width:46vw;white-space:normal}}
@media print{.players,nav{display:none}}
)";

}  // namespace

const char* page_style() { return kStyle; }

std::string page_head(const std::string& title, const std::string& style, bool wide) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{}{}</style></head><body><main{}>",
      escape(title), kStyle, style, wide ? " class=\"wide\"" : "");
}

std::string player_html(const std::string& css, const std::string& caption, const std::string& about,
                        const std::vector<float>& x, int sample_rate, double gain) {
  return fmt::format(
      "<figure class=\"{}\"><figcaption>{}</figcaption><audio controls preload=\"metadata\" aria-label=\"{}\" "
      "src=\"{}\"></audio></figure>",
      css, escape(caption), escape(about), wav_data_uri(x, sample_rate, gain));
}

}  // namespace cafx
