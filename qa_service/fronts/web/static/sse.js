// Server-sent events, parsed as their bytes arrive (HTML standard, 9.2).

/** An event as its name and its data, read as JSON. @typedef {[name: string, data: any]} ParsedEvent */

/** Takes the bytes of a stream in pieces of any size; a character or a line end may be cut in two. */
export class EventStreamParser {
  #decoder = new TextDecoder();
  #incomplete = "";

  /** @param {Uint8Array} bytes @returns {ParsedEvent[]} the events that these bytes complete */
  push(bytes) {
    const messages = (this.#incomplete + this.#decoder.decode(bytes, { stream: true })).split(/\r?\n\r?\n/);
    this.#incomplete = messages.pop() ?? "";
    return messages.map(parseMessage).filter((event) => event !== null);
  }
}

/** @param {string} message @returns {ParsedEvent | null} null for a comment, which the server sends to keep the connection */
function parseMessage(message) {
  let name = "";
  const data = [];
  for (const line of message.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5));
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}
