#include "lib/data/rows/json_row.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/data/rows/json_cell.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using Kind = Cell::Kind;
using testing::ElementsAre;
using testing::FieldsAre;

Row Parse(std::string_view json, const std::vector<std::string>& nested_columns = {"m", "n"}) {
  Row row;
  EXPECT_EQ(ParseJsonRow(json, nested_columns, &row), std::nullopt) << json;
  EXPECT_OK(row.problem) << json;
  return row;
}

TEST(JsonRow, ScalarsAreCells) {
  const Row row = Parse(
      R"({"a":null,"b":"é\u0000","c":-7,"d":18446744073709551615,"e":18446744073709551616,"f":1.0,"g":true})",
      {"a", "b", "c", "d", "e", "f", "g"});
  EXPECT_THAT(row.cells,
              ElementsAre(FieldsAre("a", Kind::kNull, ""),
                          FieldsAre("b", Kind::kText, std::string_view("é\0", 3)),
                          FieldsAre("c", Kind::kInteger, "-7"),
                          FieldsAre("d", Kind::kInteger, "18446744073709551615"),
                          FieldsAre("e", Kind::kOther, ""), FieldsAre("f", Kind::kOther, ""),
                          FieldsAre("g", Kind::kOther, "")));
}

TEST(JsonRow, ListsAndObjectsKeepTheirTextWhereAsked) {
  const Row row = Parse(
      R"( { "m" : [ { "b" : "x" , "a" : [ ] , "b" : { } } , null , true , false ] , "o" : [ 1 ] ,
            "m2" : { "m" : 1 } , "n" : { "m" : { "n" : [ [ -1 ] , "" ] } } } )");
  EXPECT_THAT(
      row.cells,
      ElementsAre(FieldsAre("m", Kind::kNested, R"([{"b":"x","a":[],"b":{}},null,true,false])"),
                  FieldsAre("o", Kind::kNested, ""), FieldsAre("m2", Kind::kNested, ""),
                  FieldsAre("n", Kind::kNested, R"({"m":{"n":[[-1],""]}})")));
}

TEST(JsonRow, ColumnsOfOneNameAreCellsOfTheirOwn) {
  EXPECT_THAT(Parse(R"({"m":[1],"m":"text","m":{}})").cells,
              ElementsAre(FieldsAre("m", Kind::kNested, "[1]"), FieldsAre("m", Kind::kText, "text"),
                          FieldsAre("m", Kind::kNested, "{}")));
}

TEST(JsonRow, NumbersLoseNothing) {
  const char* text =
      "[9223372036854775807,-9223372036854775808,18446744073709551615,18446744073709551616,"
      "-9223372036854775809,123456789012345678901234567890,0.1,1.50,-0.0,1e3,1E+3,-2.5e-7,"
      "0.1000000000000000055511151231257827]";
  EXPECT_EQ(Parse(Concat(R"({"m":)", text, "}")).cells[0].text, text);
}

TEST(JsonRow, StringsReadBackAsTheyWere) {
  const Row row = Parse(R"({"m":["\u0000\u001F\/\"\\\b\f\n\r\t","\u00e9\ud83d\ude42\u2028",")"
                        "\x7f\u2029🙂"
                        R"("],"n":{"\u0022\u0000":1}})");
  EXPECT_EQ(row.cells[0].text, R"(["\u0000\u001f/\"\\\b\f\n\r\t",")"
                               "é🙂\u2028"
                               R"(",")"
                               "\x7f\u2029🙂\"]");
  EXPECT_EQ(row.cells[1].text, R"({"\"\u0000":1})");
  Row refused;
  EXPECT_NE(ParseJsonRow(R"({"m":["\ud800"]})", {}, &refused), std::nullopt);
  EXPECT_NE(ParseJsonRow("{\"m\":[\"\xff\"]}", {}, &refused), std::nullopt);
}

// As Python's json.dumps writes them. Only the cells that hold one are of no use.
TEST(JsonRow, NumbersThatAreNoneSpoilTheirOwnCell) {
  EXPECT_THAT(
      Parse(R"({"m":[1,{"a,":[NaN]}],"a":"NaN],","n":[0.5,"NaN",0.500000],"b":-Infinity,"m":[1]})")
          .cells,
      ElementsAre(FieldsAre("m", Kind::kOther, ""), FieldsAre("a", Kind::kText, "NaN],"),
                  FieldsAre("n", Kind::kNested, R"([0.5,"NaN",0.500000])"),
                  FieldsAre("b", Kind::kOther, ""), FieldsAre("m", Kind::kNested, "[1]")));
  EXPECT_THAT(Parse(R"({"a":{"x":1,"y":2},"m":{"x":[-Infinity,Infinity]},"n":[{},[]]})").cells,
              ElementsAre(FieldsAre("a", Kind::kNested, ""), FieldsAre("m", Kind::kOther, ""),
                          FieldsAre("n", Kind::kNested, "[{},[]]")));
  Row row;
  EXPECT_NE(ParseJsonRow(R"({"m":[NaN],)", {}, &row), std::nullopt);
  EXPECT_EQ(ParseJsonRow("[NaN]", {}, &row), std::nullopt);
  EXPECT_ERROR(row.problem, absl::StatusCode::kInvalidArgument, "DATASET_INVALID", "an object");
}

TEST(JsonRow, DepthCostsNoStack) {
  constexpr size_t kDepth = 3'000'000;
  std::string nested(kDepth, '[');
  nested.append(kDepth, ']');
  const Row row = Parse(Concat(R"({"m":)", nested, R"(,"a":)", nested, "}"));
  EXPECT_TRUE(row.cells[0].text == nested);
  EXPECT_EQ(row.cells[1].text, "");
}

TEST(JsonCell, TheValueThatATextStandsFor) {
  const struct {
    const char* json;
    Kind kind;
    const char* text;
  } kTable[] = {
      {R"("a\u00e9")", Kind::kText, "aé"},
      {R"( [ 1 , { "a" : 1.50 , "b" : [ true , false , null ] } ] )", Kind::kNested,
       R"([1,{"a":1.50,"b":[true,false,null]}])"},
      {"{}", Kind::kNested, "{}"},
      {"null", Kind::kNull, ""},
      {"-7", Kind::kInteger, "-7"},
      {"18446744073709551615", Kind::kInteger, "18446744073709551615"},
      {"18446744073709551616", Kind::kOther, ""},
      {"1.5", Kind::kOther, ""},
      {"true", Kind::kOther, ""},
      {"", Kind::kOther, ""},
      {"[1", Kind::kOther, ""},
      {"[1] 2", Kind::kOther, ""},
      {"[NaN]", Kind::kOther, ""},
      {"[\"\xff\"]", Kind::kOther, ""},
      {"\"\xff\"", Kind::kOther, ""},
      {R"("\ud800")", Kind::kOther, ""},
  };
  for (const auto& [json, kind, text] : kTable)
    EXPECT_THAT(JsonCell(json, /*keep_nested=*/true), FieldsAre("", kind, text)) << json;
  EXPECT_THAT(JsonCell(R"(["a"])", /*keep_nested=*/false), FieldsAre("", Kind::kNested, ""));
}

}  // namespace
}  // namespace ftd
