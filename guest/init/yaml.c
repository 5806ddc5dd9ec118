// SPDX-License-Identifier: GPL-2.0-only
/*
 * As much of YAML 1.2 as cloud-init's examples of network configurations have: mappings and
 * sequences by indentation, those in braces and brackets on one line, plain scalars of one line and quoted
 * ones without escapes, comments.  All else is refused: anchors, tags, block scalars,
 * scalars over several lines, several documents, tabs in front.
 */
#include <stdio.h>
#include <string.h>
#include "yaml.h"

#define BLANKS		" \t"
#define MAX_NUMBER	100

struct parser {
	char *rest;		/* what follows the line */
	char *text;		/* of the line, behind its indentation; NULL at the end */
	int indent, line;
	bool began;
	bool (*take)(void *context, const struct yaml_scalar *scalar);
	void *context;
	struct yaml_scalar scalar;
	char *problem;
	size_t size;
};

static bool refuse(struct parser *parser, const char *what)
{
	if (!parser->problem[0])
		snprintf(parser->problem, parser->size, "line %d: %s", parser->line, what);
	return false;
}

/* The next line that has something. */
static bool next_line(struct parser *parser)
{
	char *end;

	for (;;) {
		char *start = parser->rest;

		if (!start || !*start) {
			parser->text = NULL;
			parser->indent = -1;
			return true;
		}
		parser->line++;
		end = strchr(start, '\n');
		parser->rest = end ? end + 1 : NULL;
		if (!end)
			end = start + strlen(start);
		while (end > start && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
			end--;
		*end = 0;
		parser->text = start + strspn(start, " ");
		parser->indent = parser->text - start;
		if (!*parser->text || *parser->text == '#')
			continue;
		if (*parser->text == '\t')
			return refuse(parser, "a tab in front");
		if (strcmp(start, "---")) {
			parser->began = true;
			return true;
		}
		if (parser->began)
			return refuse(parser, "a second document");
	}
}

static bool is_dash(const char *text)
{
	return text[0] == '-' && (text[1] == ' ' || !text[1]);
}

static bool push(struct parser *parser, const char *name)
{
	if (parser->scalar.depth == YAML_DEPTH)
		return refuse(parser, "too deep");
	parser->scalar.path[parser->scalar.depth++] = name;
	return true;
}

/* Numbers stay, as keys do: who takes a scalar may keep its path. */
static bool push_number(struct parser *parser, int number)
{
	static char numbers[MAX_NUMBER][12];

	if (number >= MAX_NUMBER)
		return refuse(parser, "too long a sequence");
	snprintf(numbers[number], sizeof(numbers[0]), "%d", number);
	return push(parser, numbers[number]);
}

static void pop(struct parser *parser)
{
	parser->scalar.depth--;
}

static bool hand_over(struct parser *parser, const char *value)
{
	parser->scalar.value = value;
	parser->scalar.line = parser->line;
	return parser->take(parser->context, &parser->scalar);
}

/* Whether nothing follows but a comment. */
static bool is_end(const char *at)
{
	const char *next = at + strspn(at, BLANKS);

	return !*next || (*next == '#' && next > at);
}

/* A quoted scalar; `at` is moved behind it. */
static char *read_quoted(struct parser *parser, char **at)
{
	char quote = **at, *start = *at + 1, *end = strchr(start, quote);

	if (!end || (quote == '\'' && end[1] == quote) || (quote == '"' && memchr(start, '\\', end - start))) {
		refuse(parser, end ? "an escape in quotes" : "quotes without an end");
		return NULL;
	}
	*end = 0;
	*at = end + 1;
	return start;
}

/*
 * A plain scalar in braces or brackets, or a key.  It ends at a character of `ends`, at a colon with
 * a blank or an end behind it, and at a comment.  What ends it is returned in `end`, as it is written over.
 */
static char *read_plain(struct parser *parser, char **at, const char *ends, char *end)
{
	char *start = *at, *stop;

	if (strchr("&*!|>%@`?,[]{}#", *start) && *start) {
		refuse(parser, "what is not known here");
		return NULL;
	}
	for (stop = start; *stop && !strchr(ends, *stop); stop++) {
		if (*stop == ':' && (!stop[1] || strchr(" \t,]}", stop[1])))
			break;
		if (*stop == '#' && stop > start && strchr(BLANKS, stop[-1]))
			break;
	}
	*end = *stop;
	*at = *stop ? stop + 1 : stop;
	*stop = 0;
	while (stop > start && strchr(BLANKS, stop[-1]))
		*--stop = 0;
	return start;
}

/* A scalar within braces or brackets; what follows it is put back. */
static bool parse_flow_scalar(struct parser *parser, char **at, char **value, char *end)
{
	if (**at == '"' || **at == '\'') {
		*value = read_quoted(parser, at);
		if (!*value)
			return false;
		*at += strspn(*at, BLANKS);
		*end = **at;
		if (*end)
			(*at)++;
		return true;
	}
	*value = read_plain(parser, at, ",]}", end);
	return *value != NULL;
}

/* [a, b] or {a: b}: `at` is moved from the bracket behind its end. */
static bool parse_flow(struct parser *parser, char **at)
{
	char closing = *(*at)++ == '[' ? ']' : '}', *key, *value, end;
	int number = 0;

	for (;;) {
		*at += strspn(*at, BLANKS);
		if (**at == closing) {
			(*at)++;
			return true;
		}
		if (closing == '}') {
			if (!parse_flow_scalar(parser, at, &key, &end))
				return false;
			if (end != ':')
				return refuse(parser, "a key without a value");
			*at += strspn(*at, BLANKS);
			if (!push(parser, key))
				return false;
		} else if (!push_number(parser, number++)) {
			return false;
		}
		if (**at == '[' || **at == '{') {
			if (!parse_flow(parser, at))
				return false;
			*at += strspn(*at, BLANKS);
			end = **at;
			if (end)
				(*at)++;
		} else if (!parse_flow_scalar(parser, at, &value, &end)) {
			return false;
		} else if (end == ':') {
			return refuse(parser, "a key in brackets");
		} else if (!hand_over(parser, value)) {
			return false;
		}
		pop(parser);
		/* What ends a scalar is written over, so that only `end` has it. */
		if (end == closing)
			return true;
		if (end != ',')
			return refuse(parser, "brackets have to end on their line");
	}
}

/* What stands on a line behind "key:" or "-". */
static bool parse_value(struct parser *parser, char *text)
{
	char *value, end;

	if (is_dash(text))
		return refuse(parser, "a dash behind a key");
	if (*text == '[' || *text == '{') {
		if (!parse_flow(parser, &text))
			return false;
	} else if (*text == '"' || *text == '\'') {
		value = read_quoted(parser, &text);
		if (!value || !hand_over(parser, value))
			return false;
	} else {
		value = read_plain(parser, &text, "", &end);
		if (!value)
			return false;
		if (end == ':')
			return refuse(parser, "a second key on a line");
		text = "";
		if (!hand_over(parser, value))
			return false;
	}
	return is_end(text) || refuse(parser, "more than a value");
}

static bool parse_block(struct parser *parser);

/* What is below a key or a dash that has nothing behind it, or on the lines that follow. */
static bool parse_below(struct parser *parser, int indent, bool key)
{
	if (!next_line(parser))
		return false;
	/* A sequence may begin below its key. */
	if (parser->indent > indent || (key && parser->indent == indent && is_dash(parser->text)))
		return parse_block(parser);
	return hand_over(parser, "");
}

static bool end_of_value(struct parser *parser, int indent)
{
	if (!next_line(parser))
		return false;
	return parser->indent <= indent || refuse(parser, "a value of several lines");
}

static bool parse_sequence(struct parser *parser, int indent)
{
	int number = 0;
	char *text, *at, end;

	while (parser->text && parser->indent == indent && is_dash(parser->text)) {
		if (!push_number(parser, number++))
			return false;
		text = parser->text + 1;
		text += strspn(text, " ");
		if (!*text || *text == '#') {
			if (!parse_below(parser, indent, false))
				return false;
		} else {
			/* A mapping may begin behind the dash: as if on a line of its own. */
			at = text;
			if (*at == '"' || *at == '\'')
				at = strchr(at + 1, *at);
			while (at && *at && *at != '#' && *at != '[' && *at != '{' &&
			       !(*at == ':' && (!at[1] || at[1] == ' ')))
				at++;
			end = at ? *at : 0;
			if (end == ':' || is_dash(text)) {
				parser->indent += text - parser->text;
				parser->text = text;
				if (!parse_block(parser))
					return false;
			} else if (!parse_value(parser, text) || !end_of_value(parser, indent)) {
				return false;
			}
		}
		pop(parser);
	}
	return true;
}

static bool parse_mapping(struct parser *parser, int indent)
{
	char *text, *key, end;

	while (parser->text && parser->indent == indent && !is_dash(parser->text)) {
		text = parser->text;
		if (*text == '"' || *text == '\'') {
			key = read_quoted(parser, &text);
			end = *text;
			if (end)
				text++;
		} else {
			key = read_plain(parser, &text, "", &end);
		}
		if (!key)
			return false;
		if (end != ':' || !push(parser, key))
			return refuse(parser, "a line without a key");
		text += strspn(text, BLANKS);
		if (!*text || *text == '#') {
			if (!parse_below(parser, indent, true))
				return false;
		} else if (!parse_value(parser, text) || !end_of_value(parser, indent)) {
			return false;
		}
		pop(parser);
	}
	return true;
}

/* The lines of one indentation. */
static bool parse_block(struct parser *parser)
{
	int indent = parser->indent;

	if (!(is_dash(parser->text) ? parse_sequence(parser, indent) : parse_mapping(parser, indent)))
		return false;
	return parser->indent < indent || parser->indent == indent || refuse(parser, "an indentation that fits nothing");
}

bool parse_yaml(char *text, bool (*take)(void *context, const struct yaml_scalar *scalar), void *context,
		char *problem, size_t size)
{
	struct parser parser = { .rest = text, .take = take, .context = context, .problem = problem, .size = size };

	problem[0] = 0;
	if (!next_line(&parser))
		return false;
	if (!parser.text)
		return true;
	if (!parse_block(&parser))
		return false;
	return !parser.text || refuse(&parser, "an indentation that fits nothing");
}
