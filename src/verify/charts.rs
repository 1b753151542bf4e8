//! The pictures of a report: how the test went over its time, and how long messages took. Pure.
//!
//! The crate writes colours as numbers. Each of ours stands for a role, and the page says by style sheets what colour that
//! has, in light and in dark.

use super::histogram::Histogram;
use super::history::{History, Point};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::time::Duration;

/// Width and height, in units that the page scales. On a phone a unit is three quarters of a pixel.
const SIZE: (u32, u32) = (480, 300);
const FONT: (&str, u32) = ("sans-serif", 18);

/// A colour that stands for a role, as the picture writes it, and the role's name in the style sheet.
pub const ROLES: [(&str, &str); 5] = [
    ("#010101", "ink"),
    ("#020202", "published"),
    ("#030303", "received"),
    ("#040404", "waiting"),
    ("#050505", "fault"),
];
const INK: RGBColor = RGBColor(1, 1, 1);
const PUBLISHED: RGBColor = RGBColor(2, 2, 2);
const RECEIVED: RGBColor = RGBColor(3, 3, 3);
const WAITING: RGBColor = RGBColor(4, 4, 4);
const FAULT: RGBColor = RGBColor(5, 5, 5);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// The crate's errors are of many types; a picture that cannot be drawn is left out.
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Published, received and waiting over time, with faults shaded.
#[must_use]
pub fn progress(history: &History) -> Option<String> {
    svg(|area| {
        let points = &history.points;
        let end = points.last().map_or(1.0, |point| point.at.as_secs_f64()).max(0.1);
        let most = points.iter().map(|point| point.published.max(point.received).max(point.waiting)).max();
        let most = number(most.unwrap_or(1).max(1)) * 1.05;
        let mut chart = chart(area).build_cartesian_2d(0.0..end, 0.0..most)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_mesh().axis_style(INK).label_style(FONT.into_font().color(&INK)).x_labels(5).y_labels(5);
        mesh.x_desc("seconds").y_desc("messages");
        mesh.x_label_formatter(&|at| format!("{at:.0}")).y_label_formatter(&|count| format!("{count:.0}")).draw()?;
        let thin = end / f64::from(SIZE.0);
        chart.draw_series(history.spells.iter().map(|spell| {
            let (from, to) = (spell.from.as_secs_f64(), spell.to.as_secs_f64().min(end));
            Rectangle::new([(from, 0.0), (to.max(from + thin), most)], FAULT.filled())
        }))?;
        let mut line = |color: RGBColor, of: fn(&Point) -> u64| -> Drawn {
            let points = points.iter().map(|point| (point.at.as_secs_f64(), number(of(point))));
            chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
            Ok(())
        };
        line(PUBLISHED, |point| point.published)?;
        line(RECEIVED, |point| point.received)?;
        line(WAITING, |point| point.waiting)
    })
}

/// How many messages took how long, over the logarithm of that.
#[must_use]
pub fn latencies(histogram: &Histogram) -> Option<String> {
    let classes: Vec<(Duration, Duration, u64)> = histogram.classes().collect();
    let (shortest, longest) = (classes.first()?.0.as_secs_f64() * 1e3, classes.last()?.1.as_secs_f64() * 1e3);
    svg(|area| {
        let most = classes.iter().map(|(_, _, count)| *count).max().unwrap_or(1);
        let range = (shortest * 0.8)..(longest * 1.25);
        let mut chart = chart(area).build_cartesian_2d(range.log_scale(), 0.0..number(most) * 1.05)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_mesh().axis_style(INK).label_style(FONT.into_font().color(&INK)).x_labels(4).y_labels(5);
        mesh.x_desc("milliseconds").y_desc("messages");
        mesh.x_label_formatter(&|time| shown(*time)).y_label_formatter(&|count| format!("{count:.0}")).draw()?;
        chart.draw_series(classes.iter().map(|(from, to, count)| {
            let (from, to) = (from.as_secs_f64() * 1e3, to.as_secs_f64() * 1e3);
            Rectangle::new([(from, 0.0), (to, number(*count))], RECEIVED.filled())
        }))?;
        Ok(())
    })
}

fn shown(milliseconds: f64) -> String {
    if milliseconds >= 10.0 { format!("{milliseconds:.0}") } else { format!("{milliseconds:.2}") }
}

#[expect(clippy::cast_precision_loss, reason = "it is drawn")]
fn number(count: u64) -> f64 {
    count as f64
}

fn chart<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(8).x_label_area_size(46).y_label_area_size(72);
    chart
}

/// Draws a picture.
fn svg(draw: impl FnOnce(&Area<'_>) -> Drawn) -> Option<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&area).ok()?;
        area.present().ok()?;
    }
    Some(text)
}
