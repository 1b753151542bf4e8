//! A number or text in a file, such as a sysfs attribute.

use super::{Data, Error, read_text};
use serde_json::{Number, Value};
use std::path::{Path, PathBuf};

/// Digits that a scaled number keeps. More than any sensor has, and few enough to hide the noise of binary
/// fractions (48312 x 0.001 is 48.312, not 48.312000000000005).
const DIGITS: usize = 12;

/// Gives `{"value": 48.3, "unit": "celsius"}`; the unit where one is configured.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    scale: f64,
    offset: f64,
    unit: Option<String>,
}

impl FileSource {
    /// The value is the file's number x `scale` + `offset`. With a scale of 1 and an offset of 0 the content is taken
    /// as it is: an integer stays one, and what is no number is text.
    pub fn new(path: &Path, scale: f64, offset: f64, unit: Option<&str>) -> Self {
        Self { path: path.to_owned(), scale, offset, unit: unit.map(str::to_owned) }
    }

    fn value(&self, text: String) -> Result<Value, Error> {
        let scaled = self.scale.to_bits() != 1.0f64.to_bits() || self.offset != 0.0;
        if !scaled && let Ok(number) = text.parse::<i64>() {
            return Ok(number.into());
        }
        match text.parse::<f64>() {
            Ok(number) => self.number(number * self.scale + self.offset),
            Err(_) if !scaled => Ok(Value::String(text)),
            Err(_) => {
                let content = text.chars().take(40).collect();
                Err(Error::NoNumber { path: self.path.clone(), content })
            }
        }
    }

    fn number(&self, number: f64) -> Result<Value, Error> {
        let rounded = format!("{number:.*e}", DIGITS - 1).parse().unwrap_or(number);
        let number = Number::from_f64(rounded);
        number.map(Value::Number).ok_or_else(|| Error::NoJsonNumber { path: self.path.clone(), number: rounded })
    }
}

impl super::Source for FileSource {
    fn sample(&mut self) -> Result<Data, Error> {
        let text = read_text(&self.path)?;
        if text.is_empty() {
            return Err(Error::Empty(self.path.clone()));
        }
        let mut data = Data::new();
        data.insert("value".to_owned(), self.value(text)?);
        if let Some(unit) = &self.unit {
            data.insert("unit".to_owned(), Value::String(unit.clone()));
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use std::fs;

    fn sample(content: &[u8], scale: f64, offset: f64, unit: Option<&str>) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sensor");
        fs::write(&path, content).unwrap();
        let sample = FileSource::new(&path, scale, offset, unit).sample();
        let data = sample.map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))?;
        Ok(Value::Object(data).to_string())
    }

    #[test]
    fn a_number_is_scaled_and_shows_no_noise_of_binary_fractions() {
        let celsius = sample(b"48312\n", 0.001, 0.0, Some("celsius"));
        let fahrenheit = sample(b" 100", 1.8, 32.0, None);

        assert_eq!(celsius.unwrap(), r#"{"value":48.312,"unit":"celsius"}"#);
        assert_eq!(fahrenheit.unwrap(), r#"{"value":212.0}"#);
    }

    #[test]
    fn content_that_is_not_scaled_is_taken_as_it_is() {
        assert_eq!(sample(b"-17\n", 1.0, 0.0, None).unwrap(), r#"{"value":-17}"#);
        assert_eq!(sample(b"9223372036854775807", 1.0, 0.0, None).unwrap(), r#"{"value":9223372036854775807}"#);
        assert_eq!(sample(b"0.125", 1.0, 0.0, None).unwrap(), r#"{"value":0.125}"#);
        assert_eq!(sample("offen \"ja\"\n".as_bytes(), 1.0, 0.0, None).unwrap(), r#"{"value":"offen \"ja\""}"#);
    }

    #[test]
    fn what_cannot_be_a_sample_is_an_error_that_names_file_and_content() {
        let errors = [
            sample(b"", 1.0, 0.0, None),
            sample(b"warm", 0.1, 0.0, None),
            sample(b"NaN", 1.0, 0.0, None),
            sample(b"1e308", 1e10, 0.0, None),
            sample(b"\xff\xfe", 1.0, 0.0, None),
            sample(&vec![b'1'; 70_000], 1.0, 0.0, None),
        ];

        let expected = [
            "FILE is empty",
            "FILE says \"warm\", which is no number to scale",
            "FILE gives a number that JSON cannot hold: NaN",
            "FILE gives a number that JSON cannot hold: inf",
            "FILE is no UTF-8 text",
            "FILE is larger than 65536 bytes",
        ];
        assert_eq!(errors.map(Result::unwrap_err), expected);
    }

    #[test]
    fn a_missing_file_and_a_folder_are_errors_and_the_file_may_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sensor");
        let mut source = FileSource::new(&path, 1.0, 0.0, None);

        let missing = source.sample().unwrap_err().to_string();
        fs::write(&path, "1").unwrap();
        let present = source.sample();

        assert!(missing.contains("sensor") && missing.contains("No such file"), "{missing}");
        assert!(present.is_ok());
        assert!(FileSource::new(folder.path(), 1.0, 0.0, None).sample().is_err());
    }
}
