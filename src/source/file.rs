//! A number or text in a file, such as a sysfs attribute.

use super::content::{self, Unfit};
use super::{Data, Error, read_text};
use crate::config::ReadAs;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Gives `{"value": 48.3, "unit": "celsius"}`; the unit where one is configured.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    read_as: ReadAs,
    scale: f64,
    offset: f64,
    unit: Option<String>,
}

impl FileSource {
    /// The value is the file's number x `scale` + `offset`. With a scale of 1 and an offset of 0 the content is taken
    /// as it stands.
    pub fn new(path: &Path, read_as: ReadAs, scale: f64, offset: f64, unit: Option<&str>) -> Self {
        Self { path: path.to_owned(), read_as, scale, offset, unit: unit.map(str::to_owned) }
    }

    fn value(&self, text: String) -> Result<Value, Error> {
        let is_scaled = self.scale.to_bits() != 1.0f64.to_bits() || self.offset != 0.0;
        let content = text.chars().take(40).collect();
        let value = if is_scaled {
            content::scaled(&text, self.scale, self.offset)
        } else {
            content::plain(text, self.read_as)
        };
        let path = || self.path.clone();
        value.map_err(|unfit| match unfit {
            Unfit::NoNumber => Error::NoNumber { path: path(), content },
            Unfit::NotFinite(number) => Error::NoJsonNumber { path: path(), number },
        })
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
        let sample = FileSource::new(&path, ReadAs::Auto, scale, offset, unit).sample();
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
            "FILE says \"warm\", which is no number",
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
        let mut source = FileSource::new(&path, ReadAs::Auto, 1.0, 0.0, None);

        let missing = source.sample().unwrap_err().to_string();
        fs::write(&path, "1").unwrap();
        let present = source.sample();

        assert!(missing.contains("sensor") && missing.contains("No such file"), "{missing}");
        assert!(present.is_ok());
        assert!(FileSource::new(folder.path(), ReadAs::Auto, 1.0, 0.0, None).sample().is_err());
    }
}
