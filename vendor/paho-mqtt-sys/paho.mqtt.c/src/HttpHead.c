/* packhorse: the head of an HTTP response; see HttpHead.h. */

#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <strings.h>
#endif

#include "Failure.h"
#include "HttpHead.h"

#include "Heap.h"

#if defined(_WIN32) && !defined(__MINGW32__)
#define strncasecmp(s1,s2,c) _strnicmp(s1,s2,c)
#endif

static const char HTTP_VERSION[] = "HTTP/1.";

/* Whether an empty line ends it. A line may end without a carriage return (RFC 9112, section 2.2). */
static int HttpHead_isWhole(const HttpHead* head)
{
	size_t n = head->length;

	if (n < 2 || head->text[n - 1] != '\n')
		return 0;
	return head->text[n - 2] == '\n' || (n >= 3 && head->text[n - 2] == '\r' && head->text[n - 3] == '\n');
}


HttpHeadState HttpHead_add(HttpHead* head, const char* bytes, size_t count, size_t* used)
{
	for (*used = 0; *used < count; )
	{
		if (head->length == HTTP_HEAD_MAX)
			return HTTP_HEAD_TOO_LONG;
		if (head->length == head->room)
		{
			size_t room = head->room ? 2 * head->room : 512; /* reaches HTTP_HEAD_MAX exactly */
			char* text = realloc(head->text, room);

			if (text == NULL)
				return HTTP_HEAD_NO_MEMORY;
			head->text = text;
			head->room = room;
		}
		if (head->length < sizeof(HTTP_VERSION) - 1 && bytes[*used] != HTTP_VERSION[head->length])
			return HTTP_HEAD_NOT_HTTP;
		head->text[head->length++] = bytes[(*used)++];
		if (HttpHead_isWhole(head))
			return HTTP_HEAD_WHOLE;
	}
	return HTTP_HEAD_MORE;
}


void HttpHead_free(HttpHead* head)
{
	free(head->text);
	memset(head, '\0', sizeof(*head));
}


/* The line at a position, without its end; the position becomes the next line's. NULL: there is none. */
static const char* HttpHead_line(const HttpHead* head, size_t* position, size_t* length)
{
	const char* line = head->text + *position;
	const char* end;

	if (*position >= head->length)
		return NULL;
	if ((end = memchr(line, '\n', head->length - *position)) == NULL)
		return NULL;
	*position = (size_t)(end - head->text) + 1;
	*length = (size_t)(end - line);
	if (*length > 0 && line[*length - 1] == '\r')
		--*length;
	return line;
}


static int HttpHead_isSpace(char c)
{
	return c == ' ' || c == '\t';
}


static void HttpHead_trim(const char** text, size_t* length)
{
	while (*length > 0 && HttpHead_isSpace(**text))
	{
		++*text;
		--*length;
	}
	while (*length > 0 && HttpHead_isSpace((*text)[*length - 1]))
		--*length;
}


int HttpHead_status(const HttpHead* head, char* phrase, size_t room)
{
	size_t position = 0, length = 0;
	const char* line = HttpHead_line(head, &position, &length);
	const char* rest;
	int status = 0, i;

	/* HTTP/1.x, a space, three digits; then nothing, or a space and the phrase */
	if (line == NULL || length < 12 || line[8] != ' ' || (length > 12 && line[12] != ' '))
		return -1;
	for (i = 9; i < 12; ++i)
	{
		if (line[i] < '0' || line[i] > '9')
			return -1;
		status = 10 * status + (line[i] - '0');
	}
	rest = line + 12;
	length -= 12;
	HttpHead_trim(&rest, &length);
	Failure_printable(phrase, room, rest, length);
	return status >= 100 ? status : -1;
}


/* The next field of this name from a position on. */
static int HttpHead_next(const HttpHead* head, const char* name, size_t* position, const char** value, size_t* length)
{
	size_t name_len = strlen(name), line_len = 0;
	const char* line;

	while ((line = HttpHead_line(head, position, &line_len)) != NULL)
	{
		if (line_len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0)
		{
			*value = line + name_len + 1;
			*length = line_len - name_len - 1;
			HttpHead_trim(value, length);
			return 1;
		}
	}
	return 0;
}


int HttpHead_field(const HttpHead* head, const char* name, const char** value, size_t* length)
{
	size_t position = 0, other_len;
	const char* other;
	int count = 0;

	if (HttpHead_next(head, name, &position, value, length))
		for (count = 1; HttpHead_next(head, name, &position, &other, &other_len); ++count)
			;
	return count;
}


int HttpHead_lists(const HttpHead* head, const char* name, const char* word)
{
	size_t position = 0, length;
	const char* value;

	while (HttpHead_next(head, name, &position, &value, &length))
	{
		while (length > 0)
		{
			const char* comma = memchr(value, ',', length);
			size_t item_len = comma ? (size_t)(comma - value) : length;
			size_t step = comma ? item_len + 1 : item_len;
			const char* item = value;

			HttpHead_trim(&item, &item_len);
			if (item_len == strlen(word) && strncasecmp(item, word, item_len) == 0)
				return 1;
			value += step;
			length -= step;
		}
	}
	return 0;
}
