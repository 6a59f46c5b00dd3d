//! A statement as a table that a spreadsheet takes: RFC 4180, a row a line of an entry.

use std::fmt::Write as _;

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::{chunks, instant};
use crate::domain::currency::decimal;
use crate::domain::plan::Kind;
use crate::services::members::statement::{self, Range};

const CSV: &str = "text/csv; charset=utf-8; header=present";
const CSV_HEADER: &str = "date,type,reference,description,plan,kind,quantity,currency,amount,tax,receipt_url,invoice_url,cause\r\n";

/// The statement as a file.
pub(super) fn response(range: Range, statement: statement::Statement) -> Response {
    let (first, last) = range.days();
    let disposition = format!(r#"attachment; filename="statement-{first}-{last}.csv""#);
    let body = chunks(
        CSV_HEADER.to_owned(),
        statement.entries,
        String::new(),
        write_rows,
    );
    let headers = [
        (CONTENT_TYPE, CSV.to_owned()),
        (CONTENT_DISPOSITION, disposition),
    ];
    (headers, body).into_response()
}

fn write_rows(entry: statement::Entry, text: &mut String) {
    let date = instant(entry.at);
    let receipt = entry.receipt_url.unwrap_or_default();
    let invoice = entry.invoice_url.unwrap_or_default();
    let cause = entry.cause.map(|cause| cause.message).unwrap_or_default();
    for line in entry.lines {
        let kind = line.kind().map_or("", Kind::as_str);
        let plan = line.bought.map(|bought| bought.plan).unwrap_or_default();
        let quantity = line.quantity.map(|quantity| quantity.to_string());
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "{date},{},{},{},{},{kind},{},{},{},{},{},{},{}\r\n",
            entry.what.as_str(),
            cell(&entry.reference),
            cell(&line.description.unwrap_or_default()),
            cell(&plan),
            quantity.unwrap_or_default(),
            cell(&entry.currency),
            decimal(line.amount, &entry.currency),
            decimal(line.tax, &entry.currency),
            cell(&receipt),
            cell(&invoice),
            cell(&cause),
        );
    }
}

/// A text that no spreadsheet takes for a formula, quoted where it must be.
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let escaped = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    // Where the comma is the decimal sign, spreadsheets part columns by semicolons, and some by tabs.
    if escaped.contains([',', ';', '\t', '"', '\r', '\n']) {
        format!("\"{}\"", escaped.replace('"', "\"\""))
    } else {
        escaped
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_text_is_a_formula_and_what_needs_quotes_has_them() {
        let cases = [
            ("Supporter share", "Supporter share"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "\"'\tx\""),
            ("a; b", "\"a; b\""),
            ("\rx", "\"'\rx\""),
            (
                "=HYPERLINK(\"a\",\"b\")",
                "\"'=HYPERLINK(\"\"a\"\",\"\"b\"\")\"",
            ),
            ("a, b", "\"a, b\""),
            ("two\nlines", "\"two\nlines\""),
            ("5 - 3 = 2", "5 - 3 = 2"),
        ];
        for (text, written) in cases {
            assert_eq!(cell(text), written);
        }
    }
}
