//! A terminal that nobody sits at: a pseudo-terminal, and what a person would see on it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};
use rustix::termios::tcsetwinsize;

/// What makes way for a whole screen of a program's own, and what brings back what was there.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// A pseudo-terminal.
pub struct Terminal {
    person: File,
    program: File,
    written: Arc<Mutex<Vec<u8>>>,
    before: Termios,
}

impl Terminal {
    /// A terminal of so many columns and rows.
    pub fn new(columns: u16, rows: u16) -> Terminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a pseudo-terminal can be made");
        let (person, program) = (File::from(pair.master), File::from(pair.slave));
        let before = tcgetattr(&program).expect("it is a terminal");
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, sink) = (person.try_clone().expect("a descriptor"), written.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut piece) {
                sink.lock().expect("nobody panics with it").extend_from_slice(&piece[..read]);
            }
        });
        Terminal { person, program, written, before }
    }

    /// The end that a program gets.
    pub(crate) fn end(&self) -> Stdio {
        self.program.try_clone().expect("a descriptor").into()
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) {
        (&self.person).write_all(keys.as_bytes()).expect("a terminal takes keys");
    }

    /// Changes its size. A program in the terminal's session is told by the kernel; any other has to be told.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.program, size).expect("it is a terminal");
    }

    /// Everything that was written to it.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect("nobody panics with it")).into_owned()
    }

    /// Whether it is as it was at the beginning: its settings, its screen and its cursor.
    ///
    /// # Errors
    /// What is not.
    pub fn is_restored(&self) -> Result<(), String> {
        let now = tcgetattr(&self.program).expect("it is a terminal");
        if now != self.before {
            return Err(format!("other settings: {now:?}, not {:?}", self.before));
        }
        let written = self.written();
        for (taken, given_back) in [(ENTER, LEAVE), (HIDE_CURSOR, SHOW_CURSOR)] {
            if written.rfind(taken) > written.rfind(given_back) {
                return Err(format!("{taken:?} was written, and no {given_back:?} after it"));
            }
        }
        Ok(())
    }

    /// What can be read on the screen that the program has taken.
    pub fn screen(&self) -> String {
        let written = self.written();
        let mut lines: Vec<Vec<char>> = Vec::new();
        let (mut row, mut column) = (0, 0);
        let mut rest = written.rfind(ENTER).map_or("", |at| &written[at..]).chars();
        while let Some(c) = rest.next() {
            if c != '\x1b' {
                if lines.len() <= row {
                    lines.resize(row + 1, Vec::new());
                }
                if lines[row].len() <= column {
                    lines[row].resize(column + 1, ' ');
                }
                lines[row][column] = c;
                column += 1;
                continue;
            }
            // Of what moves the cursor or erases, only these two are written; the rest changes how text looks.
            if rest.next() != Some('[') {
                continue;
            }
            let mut numbers = String::new();
            let end = rest.by_ref().find(|c| {
                numbers.push(*c);
                c.is_ascii_alphabetic()
            });
            numbers.pop();
            let number = |at: usize| numbers.split(';').nth(at).and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
            match end {
                Some('H') => (row, column) = (number(0) - 1, number(1) - 1),
                Some('J') => lines.clear(),
                _ => {}
            }
        }
        lines.iter().map(|line| line.iter().collect::<String>() + "\n").collect()
    }
}
