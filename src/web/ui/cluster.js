// The Sparks: whether each answers, its memory and who holds it, GPU, disks, what runs there.

import { useState } from "./vendor/hooks.js";
import { get, part } from "./api.js";
import { Bar, Line } from "./charts.js";
import { clock, duration, gib } from "./format.js";
import { Badge, Copy, Dialog, Section, Trouble, When, html, useAsked } from "./parts.js";
import { holderName } from "./plan.js";
import { words } from "./words.js";

/** @import { Container, Gpu, Sample, Shared, Spark } from "../../../tests/ui/types" */

const says = words.sparks;

/** @param {Pick<Shared, "status">} props */
export function Sparks({ status }) {
  const [key, setKey] = useState(false);
  const figures = useAsked(() => get("/api/v1/figures"), [Math.floor(status.round / 12)]).value;
  return html`<${Section} title=${says.heading} actions=${html`<button class="quiet" onClick=${() => setKey(true)}>${says.key}</button>`}>
    <div class="cards">${status.sparks.map((spark) => html`<${Spark} key=${spark.name} spark=${spark} samples=${figures?.memory[spark.name] ?? []} />`)}</div>
    ${key && html`<${Key} onClose=${() => setKey(false)} />`}
  <//>`;
}

/** @param {{ spark: Spark, samples: Sample[] }} props */
function Spark({ spark, samples }) {
  return html`<article class="card" aria-label=${spark.name}>
    <div class="head"><h3>${spark.name}</h3><span>
      ${spark.vpn && html`<${Badge} tone="plain">${says.vpn(spark.vpn)}<//> `}
      <${Badge} tone=${spark.reachable ? "good" : "bad"}>${spark.reachable ? says.reachable : says.silent}<//></span></div>
    ${!spark.reachable && html`<p class="blocked">${spark.why} <small>${spark.since && says.since(clock(spark.since))}</small>${spark.seen_at && html`<br /><small>${says.seen(clock(spark.seen_at))}</small>`}</p>`}
    ${spark.memory_total_bytes && html`<${Memory} spark=${spark} />`}
    ${samples.length > 1 && html`<${Line} max=${samples[0].total_bytes} label=${says.memoryFigures(gib(samples[0].available_bytes), gib(samples[samples.length - 1].available_bytes))} points=${samples.map((one) => [Date.parse(one.at), one.available_bytes])} />`}
    <dl class="figures">
      <dt>${says.gpu}</dt><dd>${spark.gpu ? gpuText(spark.gpu) : spark.gpu_trouble ? html`<span class="trouble">${says.gpuTrouble(spark.gpu_trouble)}</span>` : spark.seen_at ? says.noGpu : says.notSeen}</dd>
      ${spark.disks.length > 0 && html`<dt>${says.disks}</dt><dd>${spark.disks.map((disk) => html`<div>${says.disk(disk.path, gib(disk.free_bytes), gib(disk.total_bytes))}</div>`)}</dd>`}
    </dl>
    ${spark.uptime_secs !== null && html`<p><small>${says.up(duration(spark.uptime_secs))}</small></p>`}
    <details><summary>${says.containers(spark.containers.length)}</summary><${Containers} spark=${spark.name} containers=${spark.containers} /></details>
  </article>`;
}

/** @param {Gpu} gpu */
function gpuText(gpu) {
  const told = [
    gpu.name,
    gpu.temperature_c !== null && says.temperature(gpu.temperature_c),
    gpu.power_w !== null && says.power(gpu.power_w),
    gpu.utilization_percent !== null && says.busy(gpu.utilization_percent),
  ];
  return told.filter(Boolean).join(", ");
}

/** @param {{ spark: Spark }} props */
function Memory({ spark }) {
  const [total, free] = [spark.memory_total_bytes, spark.memory_available_bytes];
  const holders = spark.holders.map((holder) => ({
    name: holderName(holder),
    bytes: holder.bytes ?? 0,
    told: holder.bytes,
  }));
  const known = holders.reduce((sum, holder) => sum + holder.bytes, 0);
  const other = Math.max(0, (total ?? 0) - (free ?? 0) - known);
  const parts = holders.map((holder, index) => ({
    value: holder.bytes,
    tone: `held${index % 4}`,
    name: says.held(holder.name, gib(holder.told)),
  }));
  parts.push({ value: other, tone: "other", name: says.held(says.other, gib(other)) });
  const told = parts.map((one) => one.name).join(", ");
  return html`<div class="memory">
    <div class="row"><strong>${says.memory}</strong> <span>${says.free(gib(free), gib(total))}</span></div>
    <${Bar} whole=${total ?? 0} parts=${parts} label=${says.memoryBar(gib(free), gib(total), told)} />
    <ul class="legend">${parts.map((one) => html`<li><span class=${`dot ${one.tone}`}></span>${one.name}</li>`)}</ul>
    ${(spark.memory_floor_bytes ?? 0) > 0 && html`<small>${says.floor(gib(spark.memory_floor_bytes))}</small>`}
  </div>`;
}

/** @param {{ spark: string, containers: Container[] }} props */
function Containers({ spark, containers }) {
  const head = says.container;
  return html`<div class="wide" tabindex="0" role="region" aria-label=${says.containers(containers.length)}><table>
    <thead><tr><th scope="col">${head.name}</th><th scope="col">${head.of}</th><th scope="col">${head.state}</th><th scope="col">${head.image}</th><td></td></tr></thead>
    <tbody>${containers.map(
      (one) => html`<tr><th scope="row">${one.name}</th><td>${one.of ?? says.nobody}</td>
        <td>${one.state === "ended" ? says.ended(one.exit_code) : says.state[one.state]}${one.restart_count > 0 ? says.restarted(one.restart_count) : ""}${one.state === "running" && one.started_at ? html` <small><${When} at=${one.started_at} /></small>` : ""}</td><td>${one.image}</td>
        <td><a href=${`#/logs/${part(spark)}/${part(one.name)}`} aria-label=${says.logsOf(one.name)}>${says.logs}</a></td></tr>`,
    )}</tbody>
  </table></div>`;
}

/** @param {{ onClose: () => void }} props */
function Key({ onClose }) {
  const { value, problem } = useAsked(() => get("/api/v1/key"), []);
  return html`<${Dialog} title=${says.key} onClose=${onClose}>
    <${Trouble} problem=${problem} />
    ${value && !value.public_key && html`<p>${says.noKey}</p>`}
    ${value?.public_key && html`<p>${says.keyHelp}</p><pre tabindex="0">${value.public_key}</pre><${Copy} text=${value.public_key} />`}
  <//>`;
}
