// The advice of lorakit/merging/checking/advice.py at the strengths of the sliders, in the same words.

// From seven digits, halves to even, as in Python. Only dyadic numbers can be exact halves.
function fixed(exact, digits) {
  const value = Number(exact.toPrecision(7)), scaled = value * 10 ** digits;
  const half = Math.abs(scaled % 1) === 0.5 && Number.isInteger(value * 2 ** 20);
  return half ? ((2 * Math.round(scaled / 2)) / 10 ** digits).toFixed(digits) : value.toFixed(digits);
}
const signedFixed = (value, digits) => `${value >= 0 ? "+" : ""}${fixed(value, digits)}`;
// The shortest text that reads back as the number, with the exponent where Python has one.
function number(value) {
  if (value === 0 || Math.abs(value) >= 1e-4) return String(value);
  const [digits, exponent] = value.toExponential().split("e-");
  return `${digits}e-${exponent.padStart(2, "0")}`;
}
const rounded = (value) => Number(Math.abs(value) >= 0.1 ? fixed(value, 2) : Number(value.toPrecision(7)).toPrecision(2));

function fill(name, values) {
  return data.rules.sentences[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

// The strengths at which all are alike and as strong together as the strongest; null where there are none.
function balancedStrengths() {
  const { cancelled, most: largest } = data.rules.limits, all = data.all;
  const sizes = strengths.map((_, at) => size(all, at));
  const among = strengths.map((_, at) => at).filter((at) => sizes[at]);
  if (among.length < 2) return null;
  const even = strengths.map((w, at) => (sizes[at] ? Math.sign(w) / Math.sqrt(all.gram[at][at]) : 0));
  const whole = together(all, even);
  if (whole < cancelled * Math.sqrt(among.length)) return null;
  const found = strengths.map((w, at) => (sizes[at] ? rounded((Math.max(...sizes) / whole) * even[at]) : w));
  return Math.max(...found.map(Math.abs)) > largest ? null : found;
}

const opposed = (i, j) => strengths[i] * strengths[j] < 0;
const named = (at, strength) => `${number(strength)}${data.entries[at].behind}`;

function likenesses() {
  const { labels, sentences, limits } = data.rules, gram = data.all.gram;
  return data.rules.relations.filter(([, , what]) => ["same", "scaled", "relative"].includes(what)).map(([i, j, what]) => {
    const value = gram[i][j] / (Math.sqrt(gram[i][i]) * Math.sqrt(gram[j][j]));
    if (what === "relative") {
      const rest = sentences[opposed(i, j) ? "taken_back" : "doubled"];
      return ["relative", fill("relative", { a: labels[i], b: labels[j], cosine: fixed(value, 2), together: rest })];
    }
    const ratio = Math.sign(value) * (Math.sqrt(gram[j][j]) / Math.sqrt(gram[i][i]));
    const alone = strengths[i] + strengths[j] * ratio;
    const rest = Math.abs(alone) < limits.nothing ? sentences.cancel : fill("alone", { a: labels[i], alone: named(i, rounded(alone)) });
    const nearly = Math.abs(value) < limits.the_same ? sentences.nearly : "";
    return ["same", fill(what, { a: labels[i], b: labels[j], nearly, ratio: fixed(ratio, 2), cosine: fixed(value, 4), together: rest })];
  });
}

function uneven() {
  const { labels, limits, relations, sentences } = data.rules, all = data.all;
  const sizes = strengths.map((_, at) => size(all, at));
  const among = strengths.map((_, at) => at).filter((at) => sizes[at]);
  if (among.length < 2) return [];
  const strong = among.reduce((one, at) => (sizes[at] > sizes[one] ? at : one));
  const weak = among.reduce((one, at) => (sizes[at] < sizes[one] ? at : one));
  const ratio = sizes[strong] / sizes[weak];
  const pair = relations.find(([i, j]) => i === Math.min(strong, weak) && j === Math.max(strong, weak));
  if (ratio < limits.uneven || ["same", "scaled"].includes(pair?.[2])) return [];
  const part = (at) => fixed(100 * (sizes[at] / Math.sqrt(all.base)), 2);
  return [["uneven", fill("uneven", {
    strong: labels[strong],
    weak: labels[weak],
    times: fixed(ratio, ratio < 10 ? 1 : 0),
    beside: all.base ? fill("beside", { strong: part(strong), weak: part(weak) }) : "",
    even: named(strong, rounded(strengths[strong] / ratio)),
    many: among.length > 2 && balancedStrengths() ? sentences.many : "",
  })]];
}

function meetings() {
  const { labels, limits, sentences } = data.rules;
  const found = data.rules.places.map((place) => {
    const [i, j] = place.pair, [[a, b], [, c]] = place.gram;
    const sizes = [Math.abs(strengths[i]) * Math.sqrt(a), Math.abs(strengths[j]) * Math.sqrt(c)];
    const alone = Math.hypot(...sizes);
    const energy = strengths[i] ** 2 * a + 2 * strengths[i] * strengths[j] * b + strengths[j] ** 2 * c;
    const value = ((opposed(i, j) ? -1 : 1) * b) / (Math.sqrt(a) * Math.sqrt(c));
    const effect = alone ? Math.sqrt(Math.max(energy, 0)) / alone - 1 : 0;
    return { ...place, value, effect, pulls: value < 0 ? "apart" : "together" };
  }).sort((one, other) => Math.abs(other.effect) - Math.abs(one.effect));
  const met = (one) => `${one.pair} ${one.pulls}`;
  const byKind = new Set(found.filter((one) => one.kind).map(met)), strongest = new Map();
  const kept = found.filter((one) => {
    if (one.everywhere && byKind.has(met(one))) return false;
    const effect = Math.abs(one.effect);
    if (!strongest.has(met(one))) strongest.set(met(one), effect);
    return effect >= Math.max(limits.effect, limits.nearly * strongest.get(met(one)));
  });
  return ["apart", "together"].flatMap((pulls) => {
    const those = kept.filter((one) => one.pulls === pulls), doing = sentences[pulls];
    const told = those.slice(0, limits.meetings).map((one) => [pulls, fill("meeting", {
      a: labels[one.pair[0]],
      b: labels[one.pair[1]],
      doing,
      place: one.words,
      cosine: signedFixed(one.value, 2),
      chance: fixed(one.chance, 3),
      effect: fixed(100 * Math.abs(one.effect), 0),
      than: sentences[one.effect < 0 ? "smaller" : "larger"],
    }) + (pulls === "apart" ? heldBack(one) : "")]);
    const more = those.length - limits.meetings;
    return more > 0 ? [...told, [pulls, fill("more", { count: more, doing })]] : told;
  });
}

function heldBack(one) {
  const [i, j] = one.pair, weaker = size(data.all, j) < size(data.all, i) ? j : i;
  if (!data.rules.plain[weaker]) return "";
  return fill("held", { entry: data.rules.labels[weaker], strength: number(strengths[weaker]), where: one.where });
}

function roundings() {
  const { labels, dtype, lost } = data.rules;
  return strengths.flatMap((w, at) => {
    const said = lost[at][number(Math.abs(w))];
    if (!said) return [];
    const instead = said.length > 1 ? fill("finer", { lost: said[1] }) : "";
    return [["rounding", fill("rounding", { entry: labels[at], dtype, lost: said[0], instead })]];
  });
}

function ranges() {
  return strengths.flatMap((w, at) => {
    const said = data.rules.usual[at];
    const outside = said && ((said.low !== null && w < said.low) || (said.high !== null && w > said.high));
    if (!outside) return [];
    const because = said.because.length ? ` ${said.because[0]}` : "";
    return [["range", fill("range", { entry: data.rules.labels[at], strength: number(w), usual: said.words, because })]];
  });
}

function advise() {
  const told = [
    ...data.rules.refused.map((one) => ["refused", one]),
    ...likenesses(), ...uneven(), ...meetings(), ...roundings(), ...ranges(),
  ];
  $("advising").hidden = !told.length;
  $("told").replaceChildren(...told.map(([kind, words]) => {
    const line = document.createElement("li");
    line.className = kind;
    line.textContent = words;
    return line;
  }));
}
