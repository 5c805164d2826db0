//! One page that shows one run: the notes as JSON inside a template that has everything it needs in itself.
//!
//! The page's own parts are `page.html` and `page.css`; `model.js` reads the notes, `draw.js` draws them, `panel.js` tells
//! of them in words, `page.js` follows mouse and keys. `shape` is what the notes imply.

mod shape;

use serde::Serialize;

use crate::record::notes::Notes;
use crate::script::Script;
use crate::world::Outcome;

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const SCRIPTS: [&str; 4] =
    [include_str!("model.js"), include_str!("draw.js"), include_str!("panel.js"), include_str!("page.js")];

/// What the top of a page says of its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The seed, as text: JSON has no whole numbers of that size.
    pub seed: String,
    /// Whether every promise was kept.
    pub holds: bool,
    /// What else there is to say, as names and values.
    pub facts: Vec<(String, String)>,
    /// The command that runs this again.
    pub command: String,
}

impl Header {
    /// The header of a run of this script; `command` is what runs it again.
    pub fn new(outcome: &Outcome, script: &Script, scenario: &str, command: &str) -> Self {
        let plan = &script.plan;
        let ms = |us: u64| us as f64 / 1_000.0;
        let (least, most) = plan.latency_us;
        let mut facts = vec![
            ("scenario", scenario.to_owned()),
            ("nodes", plan.nodes.to_string()),
            ("steps", script.steps.len().to_string()),
            ("inputs handled", outcome.events.to_string()),
            ("views by", if plan.swim { "membership" } else { "an oracle" }.to_owned()),
            ("latency", format!("{}–{} ms", ms(least), ms(most))),
            ("digest", format!("{:016x}", outcome.digest)),
        ];
        if outcome.violation.is_none() {
            facts.push(("true after the heal within", format!("{:.3} s", outcome.healed_us as f64 / 1e6)));
        }
        Self {
            seed: outcome.seed.to_string(),
            holds: outcome.violation.is_none(),
            facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            command: command.to_owned(),
        }
    }
}

#[derive(Serialize)]
struct Run<'a> {
    header: &'a Header,
    #[serde(flatten)]
    notes: &'a Notes,
    groupings: Vec<shape::Grouping>,
    deaf: Vec<shape::Deaf>,
    child_overlaps: Vec<shape::Overlap>,
    name_overlaps: Vec<shape::Overlap>,
}

/// The page. The same notes give the same page, byte for byte.
pub fn render(header: &Header, notes: &Notes) -> String {
    let (groupings, deaf) = shape::reachability(notes);
    let children = notes.children.iter().map(|child| (child.id.as_str(), child.node, child.at));
    let held = notes
        .processes
        .iter()
        .flat_map(|process| process.names.iter().map(|held| (held.name.as_str(), process.node, held.at)));
    let child_overlaps = shape::overlaps(children, notes, &groupings);
    let name_overlaps = shape::overlaps(held, notes, &groupings);
    let run = Run { header, notes, groupings, deaf, child_overlaps, name_overlaps };
    let json = serde_json::to_string(&run).expect("notes are plain data");
    // Inside a script element only "<" can end the text or begin a comment; in JSON it stands in strings alone.
    let json = json.replace('<', "\\u003c");
    let scripts = SCRIPTS.concat();
    let mut page = String::with_capacity(HTML.len() + CSS.len() + scripts.len() + json.len());
    for part in HTML.split("@@") {
        page.push_str(match part {
            "CSS" => CSS,
            "RUN" => &json,
            "SCRIPTS" => &scripts,
            text => text,
        });
    }
    page
}
