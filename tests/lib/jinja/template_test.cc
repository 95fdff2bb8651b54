#include "lib/jinja/template.h"

#include <gtest/gtest.h>

#include <thread>

#include "lib/jinja/objects.h"
#include "tests/support/expect_status.h"

namespace ftd::jinja {
namespace {

Value FromText(std::string_view document) {
  const auto value = Value::FromJson(document);
  EXPECT_OK(value);
  return value.ok() ? *value : Value::Dict({});
}

absl::StatusOr<Rendered> Render(std::string_view source, std::string_view variables = "{}",
                                const Options& options = {}) {
  FTD_ASSIGN_OR_RETURN(const Template parsed, Template::Parse(source));
  return parsed.Render(FromText(variables), options);
}

TEST(Template, ErrorsHaveTheirPlace) {
  const struct {
    const char* what;
    const char* source;
    const char* message;
  } cases[] = {
      {"a syntax error", "a\n{{ 1 + }}", "line 2, column 8: expected an expression, got '}}'"},
      {"an unknown tag", "{% fo %}", "line 1, column 4: unknown tag 'fo'"},
      {"an unknown tag within another", "{% if 1 %}{% endfor %}",
       "line 1, column 14: unknown tag 'endfor' within {% if %}"},
      {"a tag of Jinja2 that is not supported", "\n {% include 'x' %}",
       "line 2, column 5: {% include %} is not supported"},
      {"a filter that is not supported", "{{ x|random }}",
       "line 1, column 6: the filter 'random' is not supported"},
      {"an unknown filter", "{{ x|nope }}", "line 1, column 6: there is no filter named 'nope'"},
      {"an unknown test", "{{ x is nope }}", "line 1, column 6: there is no test named 'nope'"},
      {"an unknown filter where it is reached", "{% if 1 %}{{ x|nope }}{% endif %}",
       "line 1, column 16: there is no filter named 'nope'"},
      {"a block without an end", "{% for x in y %}",
       "line 1, column 17: the template ends within {% for %}: expected {% endfor %}"},
      {"break outside a loop", "{% break %}", "line 1, column 4: not within a loop"},
      {"an attribute of what is undefined", "\xc3\xa9{{ x.y }}",
       "line 1, column 6: 'x' is undefined"},
      {"operands", "{{ 1 + 'a' }}", "line 1, column 4: '+' is not supported between int and str"},
      {"what the sandbox keeps back", "{{ [].append(1) }}",
       "line 1, column 13: the sandbox keeps the attribute 'append' of a list back"},
      {"a private attribute", "{{ ''.__class__.x }}",
       "line 1, column 16: the sandbox keeps the attribute '__class__' of a str back"},
      {"unpacking", "{% for a, b in [1] %}{% endfor %}", "line 1, column 8: int is not iterable"},
      {"a call with too many arguments", "{{ 'a'.upper(1) }}",
       "line 1, column 13: 'upper' takes at most 0 arguments, got 1"},
      {"no date", "{{ strftime_now('%Y') }}",
       "line 1, column 16: strftime_now: this rendering has no date"},
  };
  for (const auto& row : cases) {
    const auto rendered = Render(row.source);
    EXPECT_EQ(rendered.status().message(), row.message) << row.what;
    EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument) << row.what;
    EXPECT_FALSE(IsRaisedByTemplate(rendered.status())) << row.what;
  }
}

TEST(Template, WhatItRaisesItself) {
  const auto rendered = Render("{{ raise_exception('Only user and assistant roles!') }}");
  EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rendered.status().message(), "Only user and assistant roles!");
  EXPECT_TRUE(IsRaisedByTemplate(rendered.status()));
}

TEST(Template, RefusesBytesThatAreNotUtf8) {
  EXPECT_ERROR(Template::Parse("a\xff"), absl::StatusCode::kInvalidArgument, "", "not valid UTF-8");
}

TEST(Template, VariablesAreADict) {
  const auto parsed = Template::Parse("");
  ASSERT_OK(parsed);
  EXPECT_ERROR(parsed->Render(Value::List({}), {}), absl::StatusCode::kInvalidArgument, "",
               "must be a dict");
}

TEST(Template, TheDateIsTheCallers) {
  Options options;
  options.now = absl::CivilSecond(2024, 2, 29, 7, 5, 9);
  const auto rendered = Render("{{ strftime_now('%d %b %Y, %A, %H:%M:%S, %j%z') }}", "{}", options);
  ASSERT_OK(rendered);
  EXPECT_EQ(rendered->text, "29 Feb 2024, Thursday, 07:05:09, 060");
}

std::string Written(const std::vector<Generation>& spans, const std::string& text) {
  std::string out;
  for (const Generation& span : spans) {
    out.append(text.substr(span.begin, span.end - span.begin));
    out.append(span.captured ? "?|" : "|");
  }
  return out;
}

TEST(Template, GenerationBlocks) {
  const struct {
    const char* what;
    const char* source;
    const char* spans;
  } cases[] = {
      {"in bytes", "\xc3\xa9{% generation %}\xc3\xa8{% endgeneration %}x", "\xc3\xa8|"},
      {"empty", "a{% generation %}{% endgeneration %}", "|"},
      {"in order", "{% for x in 'ab' %}<{% generation %}{{ x }}{% endgeneration %}{% endfor %}",
       "a|b|"},
      {"one in another: as transformers places it",
       "a{% generation %}b{% generation %}c{% endgeneration %}{% endgeneration %}", "b?|bc|"},
      {"in a macro: as transformers places it",
       "{% macro m() %}xy{% generation %}z{% endgeneration %}{% endmacro %}a{{ m() }}", "x?|"},
      {"beyond the end of the text",
       "{% set x %}{% generation %}long{% endgeneration %}{% endset %}a", "a?|"},
  };
  for (const auto& row : cases) {
    const auto rendered = Render(row.source);
    ASSERT_OK(rendered);
    EXPECT_EQ(Written(rendered->generations, rendered->text), row.spans) << row.what;
  }
}

// The visits of `messages`, each as its index and its part of the text.
std::string VisitsOf(std::string_view source) {
  const Value variables =
      FromText(R"({"messages": [{"r": "a"}, {"r": "b"}, {"r": "c"}], "l": [{"r": "a"}]})");
  Options options;
  options.watched = variables.As<DictObject>().items[0].second.As<ListObject>().items;
  const auto parsed = Template::Parse(source);
  EXPECT_OK(parsed);
  const auto rendered = parsed->Render(variables, options);
  EXPECT_OK(rendered);
  std::string out;
  for (const Visit& visit : rendered->visits) {
    out.append(std::to_string(visit.watched)).append(":");
    out.append(rendered->text.substr(visit.begin, visit.end - visit.begin)).append("|");
  }
  return out;
}

TEST(Template, Visits) {
  const struct {
    const char* what;
    const char* source;
    const char* visits;
  } cases[] = {
      {"each once", "-{% for m in messages %}<{{ m.r }}>{% endfor %}", "0:<a>|1:<b>|2:<c>|"},
      {"slices keep identity", "{% for m in messages[1:][::-1] %}{{ m.r }}{% endfor %}",
       "2:c|1:b|"},
      {"filters too",
       "{% for m in messages|selectattr('r', 'ne', 'b')|reverse %}{{ m.r }}{% endfor %}",
       "2:c|0:a|"},
      {"and conditions", "{% for m in messages if m.r == 'b' %}{{ loop.index }}{% endfor %}",
       "1:1|"},
      {"an equal object is another", "{% for m in l %}{{ m.r }}{% endfor %}", ""},
      {"loops in loops",
       "{% for m in messages[:1] %}({% for n in messages[1:2] %}{{ n.r }}{% endfor %}){% endfor %}",
       "1:b|0:(b)|"},
      {"ended early",
       "{% for m in messages %}{{ m.r }}{% if loop.first %}{% continue %}{% endif %}!{% break %}{% "
       "endfor %}",
       "0:a|1:b!|"},
      {"nothing written", "{% for m in messages %}{% set x = m %}{% endfor %}", "0:|1:|2:|"},
      {"through a generation block",
       "a{% generation %}{% for m in messages %}{{ m.r }}{% endfor %}{% endgeneration %}",
       "0:a|1:b|2:c|"},
      {"not in captured output",
       "{% set x %}{% for m in messages %}{{ m.r }}{% endfor %}{% endset %}{{ x }}", ""},
      {"not in a macro",
       "{% macro f() %}{% for m in messages %}{{ m.r }}{% endfor %}{% endmacro %}{{ f() }}", ""},
      {"not in a recursive loop", "{% for m in messages recursive %}{{ m.r }}{% endfor %}", ""},
      {"not what is not a loop's item",
       "{{ messages[0].r }}{% for r in messages|map(attribute='r') %}{{ r }}{% endfor %}", ""},
  };
  for (const auto& row : cases) EXPECT_EQ(VisitsOf(row.source), row.visits) << row.what;
}

TEST(Template, RendersInManyThreads) {
  const auto parsed = Template::Parse(
      "{% macro f(m) %}{{ m.r|upper }}{% endmacro %}{% for m in messages %}{{ f(m) ~ loop.index }}"
      "{% endfor %}{{ 'a' 'b'|length }}");
  ASSERT_OK(parsed);
  const Value variables = FromText(R"({"messages": [{"r": "é"}, {"r": "b"}]})");
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round)
        EXPECT_EQ(parsed->Render(variables, {})->text, "É1B22");
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace ftd::jinja
