//! The live table in a terminal.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context as _;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, Wrap};

use super::board::{Board, allowed, limited};

/// The terminal, in raw mode on its alternate screen; as it was again when this is dropped, and on a panic.
pub struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal over.
    pub fn open() -> anyhow::Result<Self> {
        let terminal = ratatui::try_init().context("cannot use this terminal; try --plain")?;
        Ok(Self { terminal })
    }

    /// Whether somebody pressed q, Esc or Ctrl-C. Does not wait.
    pub fn quit_pressed(&self) -> anyhow::Result<bool> {
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Draws everything.
    pub fn draw(&mut self, headline: &[String], story: &VecDeque<String>, board: &Board) -> anyhow::Result<()> {
        self.terminal.draw(|frame| {
            let height = u16::try_from(headline.len() + 1).unwrap_or(u16::MAX);
            let rules = u16::try_from(board.rows.len() + 2).unwrap_or(u16::MAX);
            let [head, body, middle, foot] = Layout::vertical([
                Constraint::Length(height),
                Constraint::Length(rules),
                Constraint::Min(3),
                Constraint::Length(1),
            ])
            .areas(frame.area());
            frame.render_widget(
                Paragraph::new(headline.iter().map(|line| headline_line(line)).collect::<Vec<_>>()),
                head,
            );
            frame.render_widget(table(board), body);
            let told = story.iter().map(|line| story_line(line)).collect::<Vec<_>>();
            frame.render_widget(Paragraph::new(told).wrap(Wrap { trim: false }), middle);
            frame.render_widget(Paragraph::new("q quits").fg(Color::DarkGray), foot);
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The word before the first colon stands out.
fn headline_line(line: &str) -> Line<'_> {
    match line.split_once(": ") {
        Some((name, rest)) => Line::from(vec![Span::from(name).bold(), Span::from("  "), Span::from(rest)]),
        None => Line::from(line).bold(),
    }
}

/// What stops an attack is red, what ends green, and somebody legitimate is told of in yellow.
fn story_line(line: &str) -> Line<'_> {
    let color = if line.contains(" (legitimate)") {
        Color::Yellow
    } else if line.contains("  limited ") || line.contains("  blocked ") {
        Color::Red
    } else if line.contains("  released ") {
        Color::Green
    } else {
        Color::Reset
    };
    Line::from(line).fg(color)
}

fn table(board: &Board) -> Table<'_> {
    let header = TableRow::new(
        ["rule", "  allowed", "  limited", "near limit", "   shadow", "     ok/s", "limited/s", "hits, last 30 s"]
            .map(|title| Cell::from(title).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED))),
    );
    let rows = board.rows.iter().map(|(name, row)| {
        let number = |count: u64, color: Color| {
            let style = if count == 0 { Style::new().fg(Color::DarkGray) } else { Style::new().fg(color) };
            Cell::from(format!("{count:>9}")).style(style)
        };
        TableRow::new([
            Cell::from(name.as_str()),
            number(allowed(&row.total), Color::Green),
            number(limited(&row.total), Color::Red),
            number(row.total.near_limit, Color::Yellow),
            number(row.total.shadow_mode, Color::Magenta),
            number(allowed(&row.second), Color::Green),
            number(limited(&row.second), Color::Red),
            Cell::from(row.sparkline()).style(Style::new().fg(Color::Cyan)),
        ])
    });
    let widths = [
        Constraint::Min(24),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(30),
    ];
    Table::new(rows, widths).header(header).column_spacing(1)
}
