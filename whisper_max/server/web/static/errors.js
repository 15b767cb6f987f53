/** What went wrong, in one line, and what to do about it. */

const PAUSE = 10; // seconds before a server that is busy or away is asked again, unless it says when

export class PageError extends Error {
  /**
   * @param {string} message what went wrong, a sentence
   * @param {string} hint what to do, a sentence
   * @param {{needsKey?: boolean, retryAfter?: number | null}} [more] retryAfter: seconds after which the server may take
   *   it, be it never without help; null where trying again needs another recording or other settings
   */
  constructor(message, hint, { needsKey = false, retryAfter = null } = {}) {
    super(message);
    this.name = "PageError";
    this.hint = hint;
    this.needsKey = needsKey;
    this.retryAfter = retryAfter;
  }
}

export const OFFLINE = () =>
  new PageError("The server doesn't answer.", "Check that it is running and that you are online, then try again.", { retryAfter: PAUSE });

/**
 * The error that an HTTP answer stands for.
 * @param {number} status
 * @param {string} body OpenAI's error object, as JSON, where the server itself answered
 * @param {string | null} retryAfter seconds, from the header
 * @param {boolean} keySent
 * @returns {PageError}
 */
export function httpError(status, body, retryAfter, keySent) {
  const said = sentence(messageOf(body));
  if (status === 401) {
    const message = keySent ? "The server does not accept this API key." : "This server asks for an API key.";
    return new PageError(message, "Enter the key below; it is forgotten when this page is closed.", { needsKey: true, retryAfter: Infinity });
  }
  if (status === 413) return new PageError(said || "The file is too large for this server.", "Choose a shorter recording, or compress it first.");
  if (status === 429) return new PageError("The server is busy.", retryHint(retryAfter), { retryAfter: Number(retryAfter) || PAUSE });
  if (status === 503) return new PageError(said || "The server is not ready.", retryHint(retryAfter), { retryAfter: Number(retryAfter) || null });
  if (status === 504 || status === 408) return new PageError(said || "The server took too long.", "Try a shorter recording, or a smaller model.");
  if (status >= 500) return new PageError(said || `The server failed (${status}).`, "Try again; if it happens again, look at the server's log.");
  return new PageError(said || `The server refused the request (${status}).`, "Choose another file or other settings.");
}

/**
 * The error inside of a stream that had begun well.
 * @param {{message?: string, code?: string | null} | undefined} error
 * @returns {PageError}
 */
export function streamError(error) {
  return new PageError(sentence(error?.message ?? "") || "The server stopped before the end.", "Try again; what was recognised so far is kept.");
}

/** What is thrown where somebody ended it. */
export const cancelled = () => new DOMException("cancelled", "AbortError");

/** @param {unknown} error */
export const isCancelled = (error) => error instanceof DOMException && error.name === "AbortError";

/**
 * The error of a microphone that can't be had.
 * @param {unknown} error
 * @returns {PageError}
 */
export function microphoneError(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") {
    return new PageError("The browser does not let this page use the microphone.", "Allow it beside the address bar, then press Talk again.");
  }
  if (!isSecureContext) return new PageError("Browsers give no microphone to this address.", "Open the page by https, or as localhost on the server's own machine.");
  if (name === "NotFoundError") return new PageError("No microphone was found.", "Plug one in, then press Talk again.");
  return new PageError("The microphone can't be opened.", "Close other programs that use it, then press Talk again.");
}

/**
 * @param {unknown} error anything thrown
 * @returns {PageError}
 */
export function asPageError(error) {
  if (error instanceof PageError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new PageError(sentence(`This page failed: ${message}`), "Reload it and try again.");
}

/** @param {string | null} retryAfter */
function retryHint(retryAfter) {
  const seconds = Number(retryAfter);
  return seconds > 0 ? `Try again in ${seconds} s.` : "Try again in a moment.";
}

/** @param {string} body */
function messageOf(body) {
  try {
    const message = JSON.parse(body)?.error?.message;
    return typeof message === "string" ? message : "";
  } catch {
    return ""; // an answer from a proxy, not from the server
  }
}

/** @param {string} text */
function sentence(text) {
  const trimmed = text.trim();
  if (trimmed === "") return "";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}
