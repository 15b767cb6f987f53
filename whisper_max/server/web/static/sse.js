/**
 * Server-sent events from a response that arrives in pieces.
 * @param {(data: any) => void} onEvent gets the JSON of each `data` block; `[DONE]` is left out
 * @returns {(chunk: string) => void} takes the next piece of the response
 */
export function eventReader(onEvent) {
  let rest = "";
  return (chunk) => {
    const blocks = (rest + chunk).split(/\r?\n\r?\n/);
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block
        .split(/\r?\n/)
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trimStart())
        .join("\n");
      if (data && data !== "[DONE]") onEvent(JSON.parse(data));
    }
  };
}
