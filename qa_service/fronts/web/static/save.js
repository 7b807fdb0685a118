// Files that a user takes from the page: a chart as SVG or PNG, rows as CSV, a conversation as Markdown.

/**
 * Offers a file for download.
 * @param {string} name
 * @param {string} content text, or the URL of a picture where no `type` is given
 * @param {string} [type] the media type of the text
 */
export function downloadFile(name, content, type) {
  const link = document.createElement("a");
  const url = type ? URL.createObjectURL(new Blob([content], { type })) : content;
  link.href = url;
  link.download = name;
  link.click();
  if (type) setTimeout(() => URL.revokeObjectURL(url), 1000);
}
