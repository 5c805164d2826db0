//! What each key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What someone at the keyboard wants. None of it changes the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Leave,
    /// So many rows down; up if negative.
    Step(isize),
    /// So many windows down.
    Page(isize),
    First,
    Last,
    /// Goes to the other table.
    OtherTable,
    /// Sorts by a column so many to the right.
    Sort(isize),
    Reverse,
    /// Begins to write a filter.
    Filter,
    Write(char),
    Erase,
    EraseAll,
    /// Ends the writing; the filter stays.
    Accept,
    /// Ends the writing and the filter.
    Cancel,
}

/// The keys, for the bottom line.
pub(super) const HELP: &str =
    "q leave  / filter  Tab other table  left right sort  r reverse  up down PgUp PgDn select";

/// What a key does; while a filter is written, most keys are its text.
pub(super) fn action(key: KeyEvent, is_writing: bool) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return match (key.modifiers.contains(KeyModifiers::CONTROL), key.code) {
            (true, KeyCode::Char('c')) => Some(Action::Leave),
            (true, KeyCode::Char('u')) if is_writing => Some(Action::EraseAll),
            _ => None,
        };
    }
    if is_writing {
        return match key.code {
            KeyCode::Char(c) if !c.is_control() => Some(Action::Write(c)),
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Enter => Some(Action::Accept),
            KeyCode::Esc => Some(Action::Cancel),
            code => movement(code),
        };
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Action::Leave),
        KeyCode::Char('k') => Some(Action::Step(-1)),
        KeyCode::Char('j') => Some(Action::Step(1)),
        KeyCode::Char('g') => Some(Action::First),
        KeyCode::Char('G') => Some(Action::Last),
        KeyCode::Char(' ') => Some(Action::Page(1)),
        KeyCode::Char('<') | KeyCode::Left => Some(Action::Sort(-1)),
        KeyCode::Char('>') | KeyCode::Right => Some(Action::Sort(1)),
        KeyCode::Char('r') => Some(Action::Reverse),
        KeyCode::Char('/') => Some(Action::Filter),
        KeyCode::Tab | KeyCode::BackTab => Some(Action::OtherTable),
        code => movement(code),
    }
}

/// Keys that move about whatever else goes on.
fn movement(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Up => Some(Action::Step(-1)),
        KeyCode::Down => Some(Action::Step(1)),
        KeyCode::PageUp => Some(Action::Page(-1)),
        KeyCode::PageDown => Some(Action::Page(1)),
        KeyCode::Home => Some(Action::First),
        KeyCode::End => Some(Action::Last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_text_while_a_filter_is_written() {
        let press = |code, writing| action(KeyEvent::new(code, KeyModifiers::NONE), writing);
        assert_eq!(press(KeyCode::Char('q'), false), Some(Action::Leave));
        assert_eq!(press(KeyCode::Char('q'), true), Some(Action::Write('q')));
        assert_eq!(press(KeyCode::Esc, false), Some(Action::Leave));
        assert_eq!(press(KeyCode::Esc, true), Some(Action::Cancel));
        assert_eq!(press(KeyCode::Down, true), Some(Action::Step(1)));
        assert_eq!(press(KeyCode::Char('x'), false), None);
    }

    #[test]
    fn control_c_always_leaves() {
        for writing in [false, true] {
            let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(action(key, writing), Some(Action::Leave));
            assert_eq!(action(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL), writing), None);
        }
    }
}
