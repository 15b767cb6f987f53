/** A transcript as a Word document (ECMA-376): a heading, and a paragraph for each turn or segment. */

import { clock } from "./dom.js";
import { strip } from "./python.js";
import { zip } from "./zip.js";

/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Segment} Segment */

const OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml";
const SCHEMAS = "http://schemas.openxmlformats.org";
const HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';

const TYPES =
  `${HEAD}<Types xmlns="${SCHEMAS}/package/2006/content-types">` +
  '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>' +
  `<Override PartName="/word/document.xml" ContentType="${OFFICE}.document.main+xml"/></Types>`;

const RELATIONS =
  `${HEAD}<Relationships xmlns="${SCHEMAS}/package/2006/relationships">` +
  `<Relationship Id="rId1" Type="${SCHEMAS}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>`;

/**
 * @param {Result} result
 * @param {string} name of the recording
 * @returns {Blob}
 */
export function renderDocx(result, name) {
  const heading = paragraph(run(name, '<w:b/><w:sz w:val="32"/>'));
  const body = turns(result.segments).map(({ start, speaker, text }) =>
    paragraph(
      run(`${clock(start)}  `, '<w:color w:val="707070"/><w:sz w:val="18"/>') + (speaker ? run(`${speaker}: `, "<w:b/>") : "") + run(text, ""),
    ),
  );
  const document = `${HEAD}<w:document xmlns:w="${SCHEMAS}/wordprocessingml/2006/main"><w:body>${heading}${body.join("")}</w:body></w:document>`;
  const blob = zip({ "[Content_Types].xml": TYPES, "_rels/.rels": RELATIONS, "word/document.xml": document });
  return new Blob([blob], { type: `${OFFICE}.document` });
}

/**
 * What one speaker says without another in between; segments, where nobody is known.
 * @param {Segment[]} segments
 */
function turns(segments) {
  /** @type {{start: number, speaker: string | undefined, text: string}[]} */
  const turns = [];
  for (const { start, speaker, text } of segments) {
    const last = turns.at(-1);
    if (last && speaker !== undefined && last.speaker === speaker) last.text += text;
    else turns.push({ start, speaker, text });
  }
  return turns.map((turn) => ({ ...turn, text: strip(turn.text) })).filter(({ text }) => text !== "");
}

/** @param {string} runs */
const paragraph = (runs) => `<w:p><w:pPr><w:spacing w:after="120"/></w:pPr>${runs}</w:p>`;

/** @param {string} text @param {string} look */
const run = (text, look) => `<w:r><w:rPr>${look}</w:rPr><w:t xml:space="preserve">${escape(text)}</w:t></w:r>`;

/** Text that XML 1.0 can hold. @param {string} text */
function escape(text) {
  const allowed = text.toWellFormed().replace(/[\0-\x08\v\f\x0e-\x1f\ufffe\uffff]/g, "");
  return allowed.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
