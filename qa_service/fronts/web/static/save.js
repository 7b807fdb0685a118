// Files that a reader takes from the page: a chart as SVG or PNG, rows as CSV, a conversation as Markdown.

/** Offers `content` (text, or the address of a picture) as a file. */
export function save(name, content, type) {
  const link = document.createElement("a");
  const address = type ? URL.createObjectURL(new Blob([content], { type })) : content;
  link.href = address;
  link.download = name;
  link.click();
  if (type) setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Rows as comma-separated values (RFC 4180); inf and nan stay words, what is not there stays empty. */
export function csv(rows) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  const cell = (value) => {
    const text = String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(cell).join(",")).join("\r\n");
}
