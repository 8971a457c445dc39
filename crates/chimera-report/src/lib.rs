//! Findings to Markdown, HTML, SVG and CSV.
