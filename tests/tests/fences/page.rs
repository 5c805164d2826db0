//! The page, from which the tests take what they run.

const PAGE: &str = include_str!("../../../docs/fences.md");
const WRITER: &str = include_str!("writer.rs");

/// The block of code whose first lines have this in a comment.
#[track_caller]
pub(crate) fn block(title: &str) -> &'static str {
    let blocks = PAGE.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let mut found = blocks.map(|(_, code)| code).filter(|code| code.lines().take(2).any(|line| line.ends_with(title)));
    let block = found.next().unwrap_or_else(|| panic!("the page has no block {title:?}"));
    assert_eq!(found.next(), None, "two blocks {title:?}");
    block
}

#[test]
fn the_page_shows_the_writer_that_is_tested() {
    assert!(PAGE.contains(&format!("```rust\n{WRITER}```\n")), "docs/fences.md does not show writer.rs as it is");
    // Written out there, for it stands within the code.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let claim = block("SQLite: the claim").split_once('\n').expect("a title and the claim").1;
    assert!(words(WRITER).contains(&words(claim)), "{claim}");
    let inserted = words(block("PostgreSQL: the claim").split_once('\n').expect("a title and the claim").1);
    let script = words(block("under its fence")).replace(":'resource'", "$1").replace(":'fence'", "$2");
    assert!(script.contains(&inserted), "{inserted}");
}
