//! PDF files of plain text lines: <https://opensource.adobe.com/dc-acrobat-sdk-docs/pdfstandards/PDF32000_2008.pdf>.

use std::fmt::Write;

/// What fits on a page of A4.
const LINES_OF_A_PAGE: usize = 48;
/// The objects before those of the pages: catalogue, list of pages, two fonts.
const FIXED_OBJECTS: usize = 4;

/// One line of text.
pub(super) struct Row {
    pub text: String,
    /// Stands at the right margin of the same line.
    pub right: String,
    pub is_bold: bool,
}

impl Row {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            right: String::new(),
            is_bold: false,
        }
    }

    pub(super) fn bold(text: impl Into<String>) -> Self {
        Self {
            is_bold: true,
            ..Self::plain(text)
        }
    }

    pub(super) fn with(self, right: impl Into<String>) -> Self {
        Self {
            right: right.into(),
            ..self
        }
    }
}

/// A document of these lines, in Courier: its letters are equally wide, so that amounts can be set to the right.
pub(super) fn document(rows: &[Row]) -> Vec<u8> {
    let pages: Vec<&[Row]> = rows.chunks(LINES_OF_A_PAGE).collect();
    let page_number = |at: usize| FIXED_OBJECTS + 1 + 2 * at;
    let kids: Vec<String> = (0..pages.len())
        .map(|at| format!("{} 0 R", page_number(at)))
        .collect();
    let font = |name: &str| {
        format!("<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>")
    };
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Count {} /Kids [{}] >>",
            pages.len(),
            kids.join(" ")
        ),
        font("Courier"),
        font("Courier-Bold"),
    ];
    for (at, rows) in pages.iter().enumerate() {
        let content = content(rows);
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {} 0 R \
             /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>",
            page_number(at) + 1
        ));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{content}endstream",
            content.len()
        ));
    }
    assemble(&objects)
}

/// The text operators of a page; all of it is ASCII, other letters are escaped.
fn content(rows: &[Row]) -> String {
    let mut content = String::new();
    for (at, row) in rows.iter().enumerate() {
        let y = 780 - 15 * at;
        let font = if row.is_bold { "F2" } else { "F1" };
        let mut put = |x: usize, text: &str| {
            let _ = writeln!(
                content,
                "BT /{font} 10 Tf {x} {y} Td ({}) Tj ET",
                escape(text)
            );
        };
        put(50, &row.text);
        if !row.right.is_empty() {
            // A letter of Courier at 10 points is 6 points wide; the right margin is at 545.
            put(
                545_usize.saturating_sub(6 * row.right.chars().count()),
                &row.right,
            );
        }
    }
    content
}

/// Text inside parentheses, in the encoding of Windows-1252; what it does not have becomes a question mark.
fn escape(text: &str) -> String {
    let mut safe = String::new();
    for symbol in text.chars() {
        match symbol {
            '(' | ')' | '\\' => {
                safe.push('\\');
                safe.push(symbol);
            }
            ' '..='~' => safe.push(symbol),
            '\u{a0}'..='\u{ff}' => {
                let _ = write!(safe, "\\{:03o}", u32::from(symbol));
            }
            '€' => safe.push_str("\\200"),
            '’' => safe.push_str("\\222"),
            '–' => safe.push_str("\\226"),
            _ => safe.push('?'),
        }
    }
    safe
}

/// Objects, and the table of where each begins.
fn assemble(objects: &[String]) -> Vec<u8> {
    let mut file = String::from("%PDF-1.4\n");
    let mut starts = vec![];
    for (at, object) in objects.iter().enumerate() {
        starts.push(file.len());
        let _ = write!(file, "{} 0 obj\n{object}\nendobj\n", at + 1);
    }
    let table = file.len();
    let _ = write!(file, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for start in starts {
        let _ = writeln!(file, "{start:010} 00000 n ");
    }
    let _ = write!(
        file,
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
        objects.len() + 1
    );
    file.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{LINES_OF_A_PAGE, Row, document, escape};

    #[test]
    fn the_table_points_at_every_object() {
        let rows: Vec<Row> = (0..=LINES_OF_A_PAGE)
            .map(|at| Row::plain(format!("line {at} (×)")).with("1.00 EUR"))
            .collect();
        let file = String::from_utf8(document(&rows)).expect("is ASCII");
        assert!(file.starts_with("%PDF-1.4") && file.contains("/Count 2"));
        let table = file.rfind("xref\n0 ").expect("has a table");
        let table = file[..table].rfind("xref\n0 ").unwrap_or(table);
        let starts = file[table..].lines().skip(3);
        let starts = starts.take_while(|line| line.ends_with(" n "));
        let mut count = 0;
        for (at, line) in starts.enumerate() {
            let start: usize = line[..10].parse().expect("is a number");
            assert!(file[start..].starts_with(&format!("{} 0 obj\n", at + 1)));
            count += 1;
        }
        assert_eq!(count, 8, "four fixed objects and two of each page");
        let place = file.rsplit("startxref\n").next().expect("has a place");
        let place: usize = place.lines().next().expect("line").parse().expect("number");
        assert!(file[place..].starts_with("xref\n"));
    }

    #[test]
    fn text_cannot_leave_its_parentheses() {
        assert_eq!(
            escape("a(b)\\ 2 × 5 € 漢"),
            "a\\(b\\)\\\\ 2 \\327 5 \\200 ?"
        );
    }
}
