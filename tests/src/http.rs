//! HTTP/1.1 framing (RFC 9112), as much as the AWS SDK, the moto server and this harness speak.
//!
//! Whole messages only, bodies in memory: the harness looks at a message or spoils it, and never streams.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest line of a head that is taken, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// A request or a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The request line or the status line, with no line end.
    pub start: String,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body, with no transfer coding.
    pub body: Vec<u8>,
}

impl Message {
    /// A response with a body of this content type.
    pub fn response(status: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![
            ("Content-Type".to_owned(), content_type.to_owned()),
            ("Content-Length".to_owned(), body.len().to_string()),
        ];
        Self { start: format!("HTTP/1.1 {status}"), headers, body }
    }

    /// The first header field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request: path and query.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status code of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.split(' ').nth(1)?.parse().ok()
    }

    /// The head as bytes, up to and with the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.start).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The whole message as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Replaces what concerned one connection only by `connection`, so that the message can go over another.
    pub fn for_connection(&mut self, connection: &str) {
        const ONE_HOP: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "expect"];
        let was_chunked = self.is_chunked();
        self.headers.retain(|(name, _)| !ONE_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop)));
        if was_chunked {
            self.headers.push(("Content-Length".to_owned(), self.body.len().to_string()));
        }
        self.headers.push(("Connection".to_owned(), connection.to_owned()));
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    fn content_length(&self) -> io::Result<Option<usize>> {
        let length = self.header("content-length").map(str::parse).transpose();
        length.map_err(|_| invalid("a Content-Length that is no number"))
    }
}

/// Reads a request; `None` when the other side closed between two requests.
pub async fn read_request<S>(stream: &mut S) -> io::Result<Option<Message>>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    let Some(mut request) = read_head(stream).await? else {
        return Ok(None);
    };
    if request.header("expect").is_some_and(|what| what.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        stream.flush().await?;
    }
    request.body = if request.is_chunked() {
        read_chunks(stream).await?
    } else {
        read_exactly(stream, request.content_length()?.unwrap_or(0)).await?
    };
    Ok(Some(request))
}

/// Reads the response to a request of this method, past any interim one.
pub async fn read_response<S: AsyncBufRead + Unpin>(stream: &mut S, method: &str) -> io::Result<Message> {
    loop {
        let mut response = read_head(stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = response.status().ok_or_else(|| invalid("a response without a status"))?;
        if (100..200).contains(&status) {
            continue;
        }
        let bodiless = method == "HEAD" || status == 204 || status == 304;
        response.body = match response.content_length()? {
            _ if bodiless => Vec::new(),
            _ if response.is_chunked() => read_chunks(stream).await?,
            Some(length) => read_exactly(stream, length).await?,
            None => {
                let mut body = Vec::new();
                stream.read_to_end(&mut body).await?;
                response.headers.push(("Content-Length".to_owned(), body.len().to_string()));
                body
            }
        };
        return Ok(response);
    }
}

async fn read_head<S: AsyncBufRead + Unpin>(stream: &mut S) -> io::Result<Option<Message>> {
    let start = read_line(stream).await?;
    if start.is_empty() {
        return Ok(None);
    }
    let mut message = Message { start, ..Message::default() };
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Ok(Some(message));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header line without a colon"))?;
        message.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// A line without its end; empty at the end of the stream too.
async fn read_line<S: AsyncBufRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut line = String::new();
    let read = stream.take(MAX_LINE).read_line(&mut line).await?;
    if read > 0 && !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

async fn read_exactly<S: AsyncRead + Unpin>(stream: &mut S, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

async fn read_chunks<S: AsyncBufRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk without a size"))?;
        if size == 0 {
            while !read_line(stream).await?.is_empty() {}
            return Ok(body);
        }
        body.extend_from_slice(&read_exactly(stream, size).await?);
        read_line(stream).await?;
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP/1.1: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunked_response_is_read_whole_and_goes_on_with_its_length() -> io::Result<()> {
        let raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let mut response = read_response(&mut &raw[..], "GET").await?;
        assert_eq!(response.body, b"abcde");
        response.for_connection("close");
        assert_eq!(response.bytes(), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde");
        Ok(())
    }

    #[tokio::test]
    async fn the_answer_to_head_keeps_its_length_and_has_no_body() -> io::Result<()> {
        let raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let response = read_response(&mut &raw[..], "HEAD").await?;
        assert_eq!((response.header("content-length"), response.body.len()), (Some("5"), 0));
        Ok(())
    }

    #[tokio::test]
    async fn half_a_body_is_an_error_and_not_a_short_body() {
        let raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc";
        let error = read_response(&mut &raw[..], "GET").await.expect_err("the body is cut");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
