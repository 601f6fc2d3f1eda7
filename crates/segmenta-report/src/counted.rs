//! `confusion.csv`: the confusion matrix of an epoch, in pixels.

use std::fs;
use std::path::Path;

use segmenta_metrics::Confusion;

use crate::{Classes, ReportError};

const COLUMNS: [&str; 4] = ["epoch", "ignore_index", "ignored", "truth"];

/// The matrix as a table: a row for each class of the truth with its name, a column for each that was predicted.
pub(crate) fn to_csv(epoch: u32, confusion: &Confusion, classes: &Classes) -> Vec<u8> {
    let classes = classes.padded(confusion.classes());
    let mut csv = csv::Writer::from_writer(Vec::new());
    let mut row = |cells: Vec<String>| {
        csv.write_record(cells)
            .expect("rows of one length, into memory");
    };
    row(COLUMNS
        .iter()
        .map(ToString::to_string)
        .chain(classes.names().iter().cloned())
        .collect());
    let ignore_index = confusion
        .ignore_index()
        .map_or_else(String::new, |index| index.to_string());
    for (name, counts) in classes.names().iter().zip(confusion.rows()) {
        let mut cells = vec![
            epoch.to_string(),
            ignore_index.clone(),
            confusion.ignored().to_string(),
            name.clone(),
        ];
        cells.extend(counts.iter().map(ToString::to_string));
        row(cells);
    }
    csv.into_inner().expect("memory takes every byte")
}

/// Reads the matrix and its epoch.
pub(crate) fn read(path: &Path) -> Result<(u32, Confusion), ReportError> {
    let bytes = fs::read(path).map_err(ReportError::read(path))?;
    parse(&bytes).map_err(|problem| ReportError::damaged(path, problem))
}

fn parse(bytes: &[u8]) -> Result<(u32, Confusion), String> {
    let mut csv = csv::Reader::from_reader(bytes);
    let classes = csv
        .headers()
        .map_err(|error| error.to_string())?
        .len()
        .saturating_sub(COLUMNS.len());
    let number = |cell: &str| {
        cell.parse::<u64>()
            .map_err(|_| format!("“{cell}” is no count of pixels"))
    };
    let (mut about, mut pixels) = ((0, None, 0), Vec::new());
    for record in csv.records() {
        let record = record.map_err(|error| error.to_string())?;
        let small = |n: u64| u32::try_from(n).map_err(|_| format!("{n} is too much"));
        let ignore_index = Some(&record[1]).filter(|cell| !cell.is_empty());
        let ignore_index = ignore_index.map(|cell| small(number(cell)?)).transpose()?;
        about = (
            small(number(&record[0])?)?,
            ignore_index,
            number(&record[2])?,
        );
        for cell in record.iter().skip(COLUMNS.len()) {
            pixels.push(number(cell)?);
        }
    }
    let (epoch, ignore_index, ignored) = about;
    let confusion = Confusion::from_counts(classes, ignore_index, &pixels, ignored);
    Ok((epoch, confusion.map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use segmenta_image::Palette;

    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let classes = Classes::new(["a, \"b\"", "#c"], Palette::voc());
        for ignore_index in [None, Some(255)] {
            let counts = [u64::MAX / 5, 0, 3, 4, 5, 6, 7, 8, 9];
            let confusion = Confusion::from_counts(3, ignore_index, &counts, 77).unwrap();
            let csv = to_csv(12, &confusion, &classes);
            assert_eq!(parse(&csv).unwrap(), (12, confusion));
            for cut in 0..csv.len() - 2 {
                assert!(parse(&csv[..cut]).is_err(), "{cut} of {} bytes", csv.len());
            }
        }
    }
}
