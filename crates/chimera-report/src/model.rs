//! The findings of a study: what it says, in which order, and what it cannot say. A [`Draft`] is free; [`Findings`] is a
//! draft that has passed every check, and the only thing that renders.

use serde::{Deserialize, Serialize, Serializer};

use crate::check;
use crate::error::{Invalid, ReportError};
use crate::plot::Plot;
use crate::table::{Cell, Table};
use crate::verdict::Verdict;

/// Version of `findings.json` that this crate writes, and the newest that it reads.
pub const SCHEMA: u32 = 1;

/// Findings being written. Text marked "inline markup" knows `` `code` ``, `*emphasis*` and a backslash before a literal
/// character; see [`literal`](crate::literal). All other text is plain and printed as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Version of the format.
    pub schema: u32,
    /// Id of the study, e.g. `tr121`; `[a-z0-9-]+`.
    pub study: String,
    /// Title, plain text.
    pub title: String,
    /// The abstract, one sentence each; inline markup.
    pub summary: Vec<String>,
    /// Where the numbers come from: run, host, toolchain, digests.
    pub provenance: Vec<Fact>,
    /// What a hurried reader should take away.
    pub headline: Vec<Headline>,
    /// The body.
    pub sections: Vec<Section>,
    /// What is missing, with the reason.
    pub gaps: Vec<Gap>,
}

/// A label with a value, both plain text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// What it is.
    pub label: String,
    /// Its value.
    pub value: String,
}

/// Something that the report does not show, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// What is missing, plain text.
    pub what: String,
    /// Why, and what would bring it; inline markup.
    pub reason: String,
}

/// One conclusion of the study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headline {
    /// Names the anchor; `[a-z0-9-]+`, unique among the headlines.
    pub id: String,
    /// A few words, plain text.
    pub label: String,
    /// Unit of `value`, empty if there is none.
    pub unit: String,
    /// The number the conclusion rests on, if it rests on one number.
    pub value: Option<Cell>,
    /// What it means, and how sure it is; inline markup.
    pub sentence: String,
    /// The conclusion.
    pub verdict: Verdict,
}

/// A section of the body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Names the anchor; `[a-z0-9-]+`, unique among the sections.
    pub id: String,
    /// Title, plain text.
    pub title: String,
    /// Content, in order.
    pub blocks: Vec<Block>,
}

/// A block of a section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Block {
    /// A paragraph; inline markup.
    Paragraph(String),
    /// An unordered list; inline markup.
    List(Vec<String>),
    /// A table.
    Table(Table),
    /// A plot.
    Plot(Plot),
    /// Something set apart.
    Note {
        /// What kind of note.
        kind: NoteKind,
        /// Its text; inline markup.
        text: String,
    },
}

/// Kinds of notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// Something that went wrong or may mislead.
    Warning,
    /// How far the evidence reaches.
    Limit,
    /// What a word or a number means here.
    Definition,
}

impl NoteKind {
    /// The word as printed.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            NoteKind::Warning => "Warning",
            NoteKind::Limit => "Limit",
            NoteKind::Definition => "Definition",
        }
    }
}

impl Draft {
    /// An empty draft of the current schema.
    #[must_use]
    pub fn new(study: impl Into<String>, title: impl Into<String>) -> Self {
        Draft {
            schema: SCHEMA,
            study: study.into(),
            title: title.into(),
            summary: Vec::new(),
            provenance: Vec::new(),
            headline: Vec::new(),
            sections: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Appends a sentence to the abstract (inline markup).
    #[must_use]
    pub fn summary(mut self, sentence: impl Into<String>) -> Self {
        self.summary.push(sentence.into());
        self
    }

    /// Appends a fact about where the numbers come from.
    #[must_use]
    pub fn provenance(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.provenance.push(Fact { label: label.into(), value: value.into() });
        self
    }

    /// Appends a conclusion.
    #[must_use]
    pub fn headline(mut self, headline: Headline) -> Self {
        self.headline.push(headline);
        self
    }

    /// Appends a section.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// Appends a gap: what is missing, and why (inline markup).
    #[must_use]
    pub fn gap(mut self, what: impl Into<String>, reason: impl Into<String>) -> Self {
        self.gaps.push(Gap { what: what.into(), reason: reason.into() });
        self
    }

    /// Checks everything and seals it.
    ///
    /// # Errors
    /// [`Invalid`] with the place: a bad or repeated id, a row that does not fit its table, a value that is not finite, an
    /// interval that is none, a plot that cannot be drawn honestly.
    pub fn finish(self) -> Result<Findings, Invalid> {
        check::draft(&self)?;
        Ok(Findings(self))
    }
}

impl Headline {
    /// A conclusion without a number; add one with [`Headline::value`].
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        label: impl Into<String>,
        verdict: Verdict,
        sentence: impl Into<String>,
    ) -> Self {
        Headline {
            id: id.into(),
            label: label.into(),
            unit: String::new(),
            value: None,
            sentence: sentence.into(),
            verdict,
        }
    }

    /// Sets the number it rests on, in `unit` (empty for a plain number).
    #[must_use]
    pub fn value(mut self, value: impl Into<Cell>, unit: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self.unit = unit.into();
        self
    }
}

impl Section {
    /// A section without blocks.
    #[must_use]
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Section { id: id.into(), title: title.into(), blocks: Vec::new() }
    }

    /// Appends a block.
    #[must_use]
    pub fn block(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    /// Appends a paragraph (inline markup).
    #[must_use]
    pub fn paragraph(self, text: impl Into<String>) -> Self {
        self.block(Block::Paragraph(text.into()))
    }

    /// Appends a list (inline markup).
    #[must_use]
    pub fn list<S: Into<String>>(self, items: impl IntoIterator<Item = S>) -> Self {
        self.block(Block::List(items.into_iter().map(Into::into).collect()))
    }

    /// Appends a table.
    #[must_use]
    pub fn table(self, table: Table) -> Self {
        self.block(Block::Table(table))
    }

    /// Appends a plot.
    #[must_use]
    pub fn plot(self, plot: Plot) -> Self {
        self.block(Block::Plot(plot))
    }

    /// Appends a note (inline markup).
    #[must_use]
    pub fn note(self, kind: NoteKind, text: impl Into<String>) -> Self {
        self.block(Block::Note { kind, text: text.into() })
    }
}

/// Checked findings: ids are safe and unique, rows fit, every value is finite. Serialises as its draft; deserialising
/// checks again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Draft")]
pub struct Findings(Draft);

impl Findings {
    /// What they say.
    #[must_use]
    pub fn draft(&self) -> &Draft {
        &self.0
    }

    /// Opens them again for changes.
    #[must_use]
    pub fn into_draft(self) -> Draft {
        self.0
    }

    /// All tables, in order.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.blocks().filter_map(|block| match block {
            Block::Table(table) => Some(table),
            _ => None,
        })
    }

    /// All plots, in order.
    pub fn plots(&self) -> impl Iterator<Item = &Plot> {
        self.blocks().filter_map(|block| match block {
            Block::Plot(plot) => Some(plot),
            _ => None,
        })
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.0.sections.iter().flat_map(|section| &section.blocks)
    }

    /// The content of `findings.json`: indented, ending in a line feed, every f64 at full precision.
    ///
    /// # Errors
    /// [`ReportError::Unreadable`] if the serialiser refuses, which checked findings give it no reason to.
    pub fn to_json(&self) -> Result<String, ReportError> {
        let mut json = serde_json::to_string_pretty(self).map_err(ReportError::Unreadable)?;
        json.push('\n');
        Ok(json)
    }

    /// Reads `findings.json`.
    ///
    /// # Errors
    /// [`ReportError::NewerSchema`] if a newer version wrote it, [`ReportError::Unreadable`] if it is not findings,
    /// [`ReportError::Invalid`] if it contradicts itself.
    pub fn from_json(json: &str) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        // The version first: a newer format may have fields whose mere presence would be reported instead.
        let Version { schema } = serde_json::from_str(json).map_err(ReportError::Unreadable)?;
        if schema > SCHEMA {
            return Err(ReportError::NewerSchema { found: schema, known: SCHEMA });
        }
        let draft: Draft = serde_json::from_str(json).map_err(ReportError::Unreadable)?;
        Ok(draft.finish()?)
    }
}

impl TryFrom<Draft> for Findings {
    type Error = Invalid;

    fn try_from(draft: Draft) -> Result<Self, Invalid> {
        draft.finish()
    }
}

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
