//! Sample outputs: a chart, a table and a report that tell the same numbers, as a tool would have made them; and the
//! file that says that a demonstration is one.

use std::fmt::Write;

/// A sample: its name, its media type, its bytes.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) filename: &'static str,
    pub(super) mime_type: &'static str,
    pub(super) content: Vec<u8>,
}

/// Visitors of an invented museum, by month: what all samples speak of.
const VISITORS: [(&str, u32); 6] = [
    ("January", 1240),
    ("February", 1385),
    ("March", 1730),
    ("April", 2115),
    ("May", 2460),
    ("June", 2290),
];

/// The chart, the table and the report.
pub(super) fn outputs() -> [Sample; 3] {
    [
        Sample {
            filename: "visitors.csv",
            mime_type: "text/csv",
            content: table().into_bytes(),
        },
        Sample {
            filename: "visitors-chart.png",
            mime_type: "image/png",
            content: chart(),
        },
        Sample {
            filename: "visitors-report.md",
            mime_type: "text/plain",
            content: report().into_bytes(),
        },
    ]
}

/// What stands first in a demonstration.
pub(super) fn demo() -> Sample {
    Sample {
        filename: "THIS IS A DEMO.txt",
        mime_type: "text/plain",
        content: DEMO.as_bytes().to_vec(),
    }
}

const DEMO: &str = "\
This folder is a demonstration. Nothing in it is at Anthropic, and nothing you put here leaves this machine: the
service behind it is an emulator that runs beside the mount.

Try: copy a file in and list it; open visitors-report.md; delete something.

To use your own workspace, set ANTHROPIC_API_KEY and start again.
";

fn table() -> String {
    let mut text = "month,visitors\n".to_owned();
    for (month, count) in VISITORS {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{month},{count}");
    }
    text
}

fn report() -> String {
    let total: u32 = VISITORS.iter().map(|(_, count)| count).sum();
    let (best, most) = VISITORS
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .unwrap_or_default();
    let mut text = format!(
        "# Visitors, January to June\n\n{total} people came in six months. The best month was {best} with {most}.\n\n\
         | month | visitors |\n|---|---:|\n"
    );
    for (month, count) in VISITORS {
        let _ = writeln!(text, "| {month} | {count} |");
    }
    text.push_str("\nThe numbers are in `visitors.csv`, the picture is `visitors-chart.png`.\n");
    text
}

const WIDTH: usize = 480;
const HEIGHT: usize = 300;
const MARGIN: usize = 30;

/// Visitors per pixel of height.
const SCALE: usize = 10;

type Colour = [u8; 3];
const PAPER: Colour = [255, 255, 255];
const LINE: Colour = [210, 210, 210];
const BAR: Colour = [204, 120, 92];
const BEST: Colour = [140, 70, 50];

/// One bar a month, a line for every 500 visitors.
fn chart() -> Vec<u8> {
    let mut pixels = vec![PAPER; WIDTH * HEIGHT];
    let floor = HEIGHT - MARGIN;
    let mut fill = |left: usize, top: usize, width: usize, height: usize, colour: Colour| {
        for row in top..top + height {
            pixels[row * WIDTH + left..row * WIDTH + left + width].fill(colour);
        }
    };
    for step in 0..=5 {
        fill(
            MARGIN,
            floor - step * 500 / SCALE,
            WIDTH - 2 * MARGIN,
            1,
            LINE,
        );
    }
    let most = VISITORS
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or_default();
    let pitch = (WIDTH - 2 * MARGIN) / VISITORS.len();
    for (index, (_, count)) in VISITORS.into_iter().enumerate() {
        let height = count as usize / SCALE;
        let colour = if count == most { BEST } else { BAR };
        fill(
            MARGIN + index * pitch + pitch / 6,
            floor - height,
            pitch * 2 / 3,
            height,
            colour,
        );
    }
    png(WIDTH, HEIGHT, &pixels)
}

/// A PNG of 8-bit RGB. Its deflate stream holds stored blocks only: half a megabyte does not warrant a compressor.
fn png(width: usize, height: usize, pixels: &[Colour]) -> Vec<u8> {
    let mut raw = Vec::with_capacity((width * 3 + 1) * height);
    for row in pixels.chunks(width) {
        raw.push(0); // No filter.
        raw.extend(row.iter().flatten());
    }
    let mut head = Vec::new();
    head.extend((width as u32).to_be_bytes());
    head.extend((height as u32).to_be_bytes());
    head.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, *b"IHDR", &head);
    chunk(&mut file, *b"IDAT", &zlib(&raw));
    chunk(&mut file, *b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(data);
    let sum = crc32(&file[start..]);
    file.extend(sum.to_be_bytes());
}

/// RFC 1950 around RFC 1951's stored blocks.
fn zlib(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend((block.len() as u16).to_le_bytes());
        stream.extend((!(block.len() as u16)).to_le_bytes());
        stream.extend(block);
    }
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (b + a) % 65521)
    });
    stream.extend(((b << 16) | a).to_be_bytes());
    stream
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_ones() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(zlib(b"Wikipedia")[14 + 2..], 0x11e6_0398_u32.to_be_bytes());
    }

    #[test]
    fn table_report_and_chart_agree() {
        let [csv, png, report] = outputs().map(|sample| sample.content);
        let report = String::from_utf8(report).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        let counts: Vec<u32> = csv
            .lines()
            .skip(1)
            .map(|line| line.split_once(',').unwrap().1.parse().unwrap())
            .collect();
        assert!(report.contains(&format!("{} people", counts.iter().sum::<u32>())));
        assert!(report.contains(&format!("with {}.", counts.iter().max().unwrap())));
        // The pixels behind signature, IHDR and the heads of the IDAT chunk: count the coloured ones of each bar.
        let raw: Vec<u8> = png[8 + 25 + 8 + 2..]
            .chunks(5 + 0xffff)
            .flat_map(|block| block[5..].to_vec())
            .collect();
        let bars = |row: usize| {
            let row = &raw[row * (WIDTH * 3 + 1) + 1..][..WIDTH * 3];
            row.chunks(3)
                .filter(|&pixel| pixel == BAR || pixel == BEST)
                .count()
        };
        let painted: usize = (0..HEIGHT).map(bars).sum();
        let pitch = (WIDTH - 2 * MARGIN) / VISITORS.len();
        let expected: usize = counts
            .iter()
            .map(|&count| count as usize / SCALE * (pitch * 2 / 3))
            .sum();
        assert_eq!(painted, expected);
    }
}
