// What a template may use: steps, memory, output, depth. And that nothing is left behind: the
// sanitizers' build looks for leaks.
#include <gtest/gtest.h>

#include <chrono>

#include "lib/jinja/template.h"
#include "tests/support/expect_status.h"

namespace ftd::jinja {
namespace {

absl::StatusOr<Rendered> RenderAlone(std::string_view source, Options options = {}) {
  FTD_ASSIGN_OR_RETURN(const Template parsed, Template::Parse(source));
  return parsed.Render(Value::Dict({}), options);
}

std::string Repeated(std::string_view text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out.append(text);
  return out;
}

TEST(Limits, AreKeptInTime) {
  const struct {
    const char* what;
    std::string source;
    const char* message;
  } cases[] = {
      {"a long text", "{{ 'a' * 10000000000 }}", "bytes"},
      {"a text that doubles",
       "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% "
       "endfor %}",
       "bytes"},
      {"a long list", "{{ [1] * 10000000000 }}", "bytes"},
      {"a list of lists",
       "{% set ns = namespace(x=[1] * 1000) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x "
       "%}{% endfor %}",
       "bytes"},
      {"padding", "{{ 'a'.center(10000000000) }}", "bytes"},
      {"padding by a format", "{{ '%1000000000d' % 1 }}", "bytes"},
      {"padding by a spec", "{{ '{:>1000000000}'.format(1) }}", "bytes"},
      {"a wide indentation", "{{ [[1]]|tojson(indent=10000000000) }}", "bytes"},
      {"a replacement", "{{ ('a' * 100000).replace('', 'b' * 100000) }}", "bytes"},
      {"batches", "{{ [1]|batch(10000000000, 0)|list }}", "bytes"},
      {"loops in loops",
       "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "steps"},
      {"slices without end", "{{ [1]|slice(10000000000)|list }}", "steps|bytes"},
      {"a comparison of shared lists",
       "{% set a = namespace(x=[1]) %}{% set b = namespace(x=[1]) %}{% for i in range(60) %}"
       "{% set a.x = [a.x, a.x] %}{% set b.x = [b.x, b.x] %}{% endfor %}{{ a.x == b.x }}",
       "a value holds more than"},
      {"the text of shared lists",
       "{% set a = namespace(x=[1]) %}{% for i in range(22) %}{% set a.x = [a.x, a.x] %}{% endfor "
       "%}{{ a.x }}",
       "holds more"},
      {"the JSON of shared lists",
       "{% set a = namespace(x=[1]) %}{% for i in range(22) %}{% set a.x = [a.x, a.x] %}{% endfor "
       "%}{{ a.x|tojson }}",
       "holds more"},
      {"the hash of shared tuples",
       "{% set a = namespace(x=(1,)) %}{% for i in range(22) %}{% set a.x = (a.x, a.x) %}{% endfor "
       "%}{{ {a.x: 1}[a.x] }}{{ {a.x: 1}[a.x] }}",
       "holds more"},
      {"values that nest",
       "{% set a = namespace(x=[]) %}{% for i in range(999) %}{% set a.x = [a.x] %}{% endfor %}",
       "nest deeper"},
      {"a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
       "nest deeper"},
      {"a recursive loop", "{% set l = [1] %}{% for x in l recursive %}{{ loop(l) }}{% endfor %}",
       "nest deeper"},
      {"iterators on iterators",
       "{% set a = namespace(x=[1]) %}{% for i in range(9999) %}{% set a.x = a.x|map('abs') %}{% "
       "endfor %}{{ a.x|list }}",
       "nest deeper"},
      {"a namespace that shows itself", "{% set a = namespace() %}{% set a.a = a %}{{ a }}",
       "nest deeper"},
      {"much output", "{% for i in range(99999) %}" + std::string(1000, 'x') + "{% endfor %}",
       "longer"},
  };
  for (const auto& row : cases) {
    const auto begin = std::chrono::steady_clock::now();
    const auto rendered = RenderAlone(row.source);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << row.what;
    EXPECT_EQ(rendered.status().code(), absl::StatusCode::kResourceExhausted)
        << row.what << ": " << rendered.status();
    EXPECT_THAT(std::string(rendered.status().message()), testing::ContainsRegex(row.message))
        << row.what;
  }
}

TEST(Limits, OfTheParser) {
  const struct {
    const char* what;
    std::string source;
    const char* message;
  } cases[] = {
      {"parentheses", "{{ " + Repeated("(", 100000) + " }}", "nest deeper|expected"},
      {"closed ones", "{{ " + Repeated("(", 5000) + "1" + Repeated(")", 5000) + " }}",
       "nest deeper"},
      {"lists", "{{ " + Repeated("[", 5000) + Repeated("]", 5000) + " }}", "nest deeper"},
      {"not", "{{ " + Repeated("not ", 100000) + "1 }}", "nest deeper"},
      {"signs", "{{ " + Repeated("- ", 100000) + "1 }}", "nest deeper"},
      {"blocks", Repeated("{% if 1 %}", 5000) + Repeated("{% endif %}", 5000), "nest deeper"},
      {"inline ifs", "{{ " + Repeated("1 if 0 else ", 5000) + "1 }}", "nest deeper"},
      {"a long sum", "{{ " + Repeated("1 + ", 5000) + "1 }}", "too long"},
      {"a long chain of attributes", "{{ a" + Repeated(".b", 5000) + " }}", "too long"},
      {"a long chain of filters", "{{ a" + Repeated("|abs", 5000) + " }}", "too long"},
      {"a large source", std::string(2 << 20, 'x'), "more than 1048576 bytes"},
  };
  for (const auto& row : cases) {
    const auto parsed = Template::Parse(row.source);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << row.what;
    EXPECT_THAT(std::string(parsed.status().message()), testing::ContainsRegex(row.message))
        << row.what;
  }
}

TEST(Limits, ManyIfsParseQuickly) {
  std::string source;
  for (int i = 0; i < 5000; ++i)
    source.append("{% if a" + std::to_string(i) + " %}{% set b" + std::to_string(i) +
                  " = 1 %}{% endif %}");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_OK(Template::Parse(source));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(Limits, CanBeChosen) {
  Options options;
  options.max_output_bytes = 3;
  EXPECT_OK(RenderAlone("abc", options));
  EXPECT_ERROR(RenderAlone("abcd", options), absl::StatusCode::kResourceExhausted, "", "3 bytes");
  options = {};
  options.max_steps = 100;
  EXPECT_ERROR(RenderAlone("{% for i in range(99) %}{{ i }}{% endfor %}", options),
               absl::StatusCode::kResourceExhausted, "", "100 steps");
  options = {};
  options.max_levels = 5;
  constexpr std::string_view kCountDown =
      "{% macro f(n) %}{{ f(n - 1) if n }}{% endmacro %}{{ f(4) }}{{ f(5) }}";
  EXPECT_ERROR(RenderAlone(kCountDown, options), absl::StatusCode::kResourceExhausted, "",
               "5 levels");
  options.max_levels = 6;
  EXPECT_OK(RenderAlone(kCountDown, options));
}

// Each makes objects that hold one another, whether it ends well or with an error.
TEST(Limits, CyclesAreFreed) {
  const char* const cases[] = {
      "{% set a = namespace() %}{% set a.a = [a] %}",
      "{% set a = namespace() %}{% macro m() %}{{ a }}{% endmacro %}{% set a.m = m %}{{ 1 + 'x' }}",
      "{% macro o() %}{% macro i() %}{{ i }}{% endmacro %}{% set x = i %}{% endmacro %}{{ o() }}",
      "{% for x in [1, 2] if x %}{% set l = loop %}{{ loop.changed(loop) }}{% endfor %}",
      "{% for x in [1, 2] if x %}{{ loop.changed(loop) }}{{ 1 + 'x' }}{% endfor %}",
      "{% for x in [[1]] if x recursive %}{{ loop(x) if x is iterable }}{% set y = loop %}{% "
      "endfor %}",
      "{% macro m() %}{% for x in [1] if x %}{% set l = loop %}{{ 1 + 'x' }}{% endfor %}{% "
      "endmacro %}{{ m() }}",
      "{% macro m() %}{{ caller() }}{% endmacro %}{% for i in [1, 2] %}{% call m() %}{{ i }}{% "
      "endcall %}{% endfor %}",
  };
  for (const char* source : cases) {
    const auto status = RenderAlone(source).status();
    EXPECT_NE(status.code(), absl::StatusCode::kResourceExhausted) << source;
  }
}

}  // namespace
}  // namespace ftd::jinja
