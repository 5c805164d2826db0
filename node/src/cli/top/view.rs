//! Draws the model into a buffer of any size: what has no room is left out, the least important first.

use std::time::Instant;

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::table::{Tone, age_at, or_dash, tone};
use super::keys;
use super::listing::{Listing, Row, label_text};
use super::model::{Focus, Model};
use crate::rows::{Child, Member};

/// Lines that tell more about the selected row, its heading included.
const DETAIL_LINES: u16 = 6;
/// The same where there is much room, for long reasons.
const DETAIL_LINES_MAX: u16 = 9;
/// No more columns and lines are drawn on, however many a terminal says that it has.
const SIDE_MAX: u16 = 2000;
/// Blanks between two columns.
const GAP: u16 = 2;

/// When something is drawn, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brush {
    pub(super) wall: Timestamp,
    pub(super) now: Instant,
    pub(super) is_coloured: bool,
}

/// What one cell of a table shows.
struct Cell {
    text: String,
    style: Style,
}

/// Draws everything, and tells the tables how many rows of them fit.
pub(super) fn draw(buffer: &mut Buffer, model: &mut Model, brush: Brush) {
    let whole = buffer.area;
    let whole = Rect { width: whole.width.min(SIDE_MAX), height: whole.height.min(SIDE_MAX), ..whole };
    let areas = areas(whole.height, model, model.trouble(brush.now).is_some());
    let mut top = whole.y;
    let mut next = |height: u16| {
        let area = Rect { y: top, height, ..whole };
        top += height;
        area
    };
    draw_header(buffer, next(areas.header), model, brush);
    draw_trouble(buffer, next(areas.trouble), model, brush);
    let Model { members, children, snapshot, focus, .. } = model;
    let member_cells = |member: &Member| brush.member(member);
    draw_table(buffer, next(areas.members), members, &snapshot.members, *focus == Focus::Members, member_cells);
    let child_cells = |child: &Child| brush.child(child);
    draw_table(buffer, next(areas.children), children, &snapshot.children, *focus == Focus::Children, child_cells);
    draw_details(buffer, next(areas.details), model, brush);
    draw_events(buffer, next(areas.events), model);
    draw_bottom(buffer, next(areas.bottom), model);
}

/// How many lines each part gets.
#[derive(Debug, Default)]
struct Areas {
    header: u16,
    trouble: u16,
    members: u16,
    children: u16,
    details: u16,
    events: u16,
    bottom: u16,
}

fn areas(height: u16, model: &Model, is_troubled: bool) -> Areas {
    let header = if height >= 8 { 2 } else { height.min(1) };
    let trouble = u16::from(is_troubled && height >= 2);
    let bottom = u16::from(height >= 4 || (height >= 3 && model.is_writing));
    let body = height.saturating_sub(header + trouble + bottom);
    // In a low window there is room for the table that keys move in, and for nothing else.
    if body < 12 {
        let (members, children) = match model.focus {
            Focus::Members => (body, 0),
            Focus::Children => (0, body),
        };
        return Areas { header, trouble, members, children, bottom, ..Areas::default() };
    }
    let details = match body {
        ..18 => 0,
        18..32 => DETAIL_LINES,
        32.. => DETAIL_LINES_MAX,
    };
    let events = (body / 5).clamp(3, 9);
    let share = if model.focus == Focus::Members { 2 } else { 4 };
    let heading_and_rows = u16::try_from(model.snapshot.members.len()).unwrap_or(u16::MAX).saturating_add(1);
    let members = heading_and_rows.min((body - details - events) / share + 1);
    Areas { header, trouble, members, children: body - details - events - members, details, events, bottom }
}

fn draw_header(buffer: &mut Buffer, area: Rect, model: &Model, brush: Brush) {
    let status = &model.snapshot.status;
    let seconds = model.age(brush.now).as_secs();
    let (healthy, converged) = match (status.healthy, status.converged) {
        (true, true) => (("healthy", Tone::Good), ("converged", Tone::Good)),
        (true, false) => (("healthy", Tone::Good), ("not converged yet", Tone::Busy)),
        (false, true) => (("not healthy", Tone::Bad), ("converged", Tone::Good)),
        (false, false) => (("not healthy", Tone::Bad), ("not converged yet", Tone::Busy)),
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let end = put(buffer, area, 0, 0, &format!("cluster {}", status.cluster), bold);
    let end = put(buffer, area, end + GAP, 0, healthy.0, brush.style(healthy.1));
    let end = put(buffer, area, end + GAP, 0, converged.0, brush.style(converged.1));
    put(buffer, area, end + GAP, 0, &format!("{seconds}s old, from {} ({})", status.name, model.address), Style::new());
    let counts = format!(
        "members {} up of {}  children {} running of {}  names {}, {} conflicts lost",
        status.members_up, status.members, status.running, status.children, status.names, status.conflicts_total
    );
    put(buffer, area, 0, 1, &counts, Style::new());
}

fn draw_trouble(buffer: &mut Buffer, area: Rect, model: &Model, brush: Brush) {
    let Some(trouble) = model.trouble(brush.now) else { return };
    let seconds = model.age(brush.now).as_secs();
    let style = brush.style(Tone::Bad).add_modifier(Modifier::REVERSED);
    put(buffer, area, 0, 0, &format!("{seconds}s OLD, asking on: {trouble}"), style);
}

fn draw_table<R: Row>(
    buffer: &mut Buffer,
    area: Rect,
    listing: &mut Listing,
    rows: &[R],
    is_focused: bool,
    cells: impl Fn(&R) -> Vec<Cell>,
) {
    let window = listing.show(usize::from(area.height.saturating_sub(1)));
    let shown: Vec<Vec<Cell>> = window.clone().filter_map(|place| listing.row(rows, place)).map(cells).collect();
    let heading: Vec<String> = R::COLUMNS.iter().enumerate().map(|(at, name)| listing.heading(at, name)).collect();
    let widths = widths(&heading, &shown, area.width);
    let style = match is_focused {
        true => Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
        false => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
    };
    if area.height > 0 {
        buffer.set_style(Rect { height: 1, ..area }, style);
    }
    let mut x = 0;
    for (name, width) in heading.iter().zip(&widths) {
        put(buffer, Rect { width: area.width.min(x + width), ..area }, x, 0, name, style);
        x += width + GAP;
    }
    let places = position(listing, rows.len(), window.start + 1, window.end);
    let width = u16::try_from(places.width()).unwrap_or(u16::MAX);
    // What the last heading does not need of its column is free.
    let heading_width = heading.last().map_or(0, |name| u16::try_from(name.width()).unwrap_or(u16::MAX));
    let taken = x.saturating_sub(widths.last().unwrap_or(&0) + GAP).saturating_add(heading_width + GAP);
    if area.width >= taken.saturating_add(width) {
        put(buffer, area, area.width - width, 0, &places, style);
    }
    for (line, (row, place)) in (1..area.height).zip(shown.iter().zip(window)) {
        let mut x = 0;
        for (cell, width) in row.iter().zip(&widths) {
            put(buffer, Rect { width: area.width.min(x + width), ..area }, x, line, &cell.text, cell.style);
            x += width + GAP;
        }
        if listing.is_selected(place) && is_focused {
            let style = Style::new().add_modifier(Modifier::REVERSED);
            buffer.set_style(Rect { y: area.y + line, height: 1, ..area }, style);
        }
    }
}

/// Which of how many rows are shown, and by which filter.
fn position(listing: &Listing, all: usize, from: usize, to: usize) -> String {
    let filter = if listing.filter.is_empty() { String::new() } else { format!("/{} ", listing.filter) };
    match listing.count() {
        0 if all == 0 => "none".into(),
        0 => format!("{filter}none of {all}"),
        count if count == all => format!("{from}-{to} of {all}"),
        count => format!("{filter}{from}-{to} of {count} of {all}"),
    }
}

/// Each column as wide as its widest cell, but none wider than its share; the last takes what is left.
fn widths(heading: &[String], rows: &[Vec<Cell>], width: u16) -> Vec<u16> {
    let most = (width / 3).max(8);
    let column = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width());
        let widest = cells.chain([heading[at].width()]).max().unwrap_or(0);
        u16::try_from(widest).unwrap_or(u16::MAX).min(most)
    };
    let mut widths: Vec<u16> = (0..heading.len()).map(column).collect();
    if let Some((last, others)) = widths.split_last_mut() {
        *last = others.iter().fold(width, |left, other| left.saturating_sub(other + GAP));
    }
    widths
}

fn draw_details(buffer: &mut Buffer, area: Rect, model: &Model, brush: Brush) {
    let (name, lines) = match model.focus {
        Focus::Children => match model.children.selected(&model.snapshot.children) {
            Some(child) => (child.id.as_str(), brush.child_details(child)),
            None => ("no child", Vec::new()),
        },
        Focus::Members => match model.members.selected(&model.snapshot.members) {
            Some(member) => (member.name.as_str(), brush.member_details(member)),
            None => ("no member", Vec::new()),
        },
    };
    let room = usize::from(area.width.min(buffer.area.width));
    let lines: Vec<String> = lines.iter().flat_map(|line| wrap(line, room)).take(usize::from(area.height)).collect();
    draw_lines(buffer, area, name, lines.iter().map(String::as_str));
}

/// A text in lines no wider than there is room.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut width = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if width > 0 && width + wide > room {
            lines.push(String::new());
            width = 0;
        }
        width += wide;
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
    lines
}

fn draw_events(buffer: &mut Buffer, area: Rect, model: &Model) {
    draw_lines(buffer, area, "EVENTS, the newest first", model.snapshot.events.iter().map(String::as_str));
}

fn draw_lines<'a>(buffer: &mut Buffer, area: Rect, heading: &str, lines: impl Iterator<Item = &'a str>) {
    let style = Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED);
    if area.height > 0 {
        buffer.set_style(Rect { height: 1, ..area }, style);
    }
    put(buffer, area, 0, 0, heading, style);
    for (line, text) in (1..area.height).zip(lines) {
        put(buffer, area, 0, line, text, Style::new());
    }
}

fn draw_bottom(buffer: &mut Buffer, area: Rect, model: &Model) {
    if !model.is_writing {
        put(buffer, area, 0, 0, keys::HELP, Style::new().add_modifier(Modifier::DIM));
        return;
    }
    let end = put(buffer, area, 0, 0, "filter: ", Style::new().add_modifier(Modifier::BOLD));
    let end = put(buffer, area, end, 0, model.filter(), Style::new());
    let end = put(buffer, area, end, 0, " ", Style::new().add_modifier(Modifier::REVERSED));
    put(buffer, area, end + GAP, 0, "Enter keeps it, Esc drops it", Style::new().add_modifier(Modifier::DIM));
}

/// Writes a text into an area, as far as there is room; answers where it ends.
fn put(buffer: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let area = area.intersection(buffer.area);
    if x >= area.width || y >= area.height {
        return x;
    }
    let room = usize::from(area.width - x);
    let (end, _) = buffer.set_stringn(area.x + x, area.y + y, text, room, style);
    end - area.x
}

impl Listing {
    /// A column's name, marked if rows are sorted by it.
    fn heading(&self, at: usize, name: &str) -> String {
        match (at == self.column, self.is_reversed) {
            (false, _) => name.to_owned(),
            (true, false) => format!("{name}^"),
            (true, true) => format!("{name}v"),
        }
    }
}

impl Brush {
    fn style(self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Good => Color::Green,
            Tone::Busy => Color::Yellow,
            Tone::Bad => Color::Red,
            Tone::Plain => return Style::new(),
        };
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn plain(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), style: Style::new() }
    }

    fn status(self, status: &str) -> Cell {
        Cell { text: status.to_owned(), style: self.style(tone(status)) }
    }

    fn child(self, child: &Child) -> Vec<Cell> {
        vec![
            Self::plain(&child.id),
            Self::plain(or_dash(child.node.as_ref())),
            self.status(&child.status),
            Self::plain(child.restarts.to_string()),
            Self::plain(age_at(&child.since, self.wall)),
            Self::plain(or_dash(child.reason.as_ref())),
        ]
    }

    fn member(self, member: &Member) -> Vec<Cell> {
        vec![
            Self::plain(&member.name),
            self.status(&member.status),
            Self::plain(member.children.to_string()),
            Self::plain(or_dash(member.rtt_ms.map(|ms| format!("{ms:.1}ms")))),
            Self::plain(or_dash(Some(label_text(&member.labels)).filter(|labels| !labels.is_empty()))),
        ]
    }

    fn child_details(self, child: &Child) -> Vec<String> {
        let since = age_at(&child.since, self.wall);
        vec![
            format!(
                "{}, {} for {since}, since {}, on {}, restarts {}",
                child.kind,
                child.status,
                child.since,
                or_dash(child.node.as_ref()),
                child.restarts
            ),
            format!(
                "pid {}  os pid {}  fence {}",
                or_dash(child.pid.as_ref()),
                or_dash(child.os_pid),
                or_dash(child.fence.as_ref())
            ),
            format!("reason  {}", or_dash(child.reason.as_ref())),
            format!("labels  {}", label_text(&child.labels)),
            format!("log     {}", or_dash(child.log.as_ref())),
        ]
    }

    fn member_details(self, member: &Member) -> Vec<String> {
        vec![
            format!("{}, boot {}, at {}, version {}", member.status, member.boot, member.addr, member.version),
            format!(
                "children {}  round trip {}",
                member.children,
                or_dash(member.rtt_ms.map(|ms| format!("{ms:.1}ms")))
            ),
            format!("kinds   {}", member.kinds.join(" ")),
            format!("labels  {}", label_text(&member.labels)),
        ]
    }
}
