#include "lib/tokenizer/model_json.h"

#include "lib/base/concat.h"
#include "lib/tokenizer/json_fields.h"

namespace ftd {
namespace {

using nlohmann::json;

// Deeper than any tokenizer.json. The functions that read the document recurse.
constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxBytes = size_t{1} << 31;  // offsets have 32 bits

// Receives the parser's events. Below model.vocab and model.merges they go to flat arrays,
// elsewhere to a document: a document would allocate each of the hundreds of thousands of strings
// of a large vocabulary.
class Reader : public nlohmann::json_sax<json> {
 public:
  explicit Reader(ModelJson* out) : out_(out) {}
  const std::string& error() const { return error_; }

  bool null() override { return Value(nullptr); }
  bool boolean(bool value) override { return Value(value); }
  bool number_integer(number_integer_t value) override { return Value(value); }
  bool number_float(number_float_t value, const string_t&) override { return Value(value); }
  bool binary(binary_t&) override { return Fail("binary data"); }
  // {"token": id, …}
  bool number_unsigned(number_unsigned_t value) override {
    return place_ == Place::kVocab ? AddToken(value) : Value(value);
  }
  // "left right" (older files), or the strings of ["left", "right"].
  bool string(string_t& value) override {
    return place_ == Place::kMerges ? AddMergeText(value) : Value(value);
  }

  bool key(string_t& name) override {
    if (place_ == Place::kVocab) {
      token_ = Keep(name);
      return true;
    }
    key_ = name;
    // stack_ holds the open containers, so 1 is within the file's object and 2 within "model".
    if (stack_.size() == 2 && in_model_ && name == "vocab") next_ = Place::kVocab;
    if (stack_.size() == 2 && in_model_ && name == "merges") next_ = Place::kMerges;
    if (stack_.size() == 1) in_model_ = name == "model";
    return true;
  }
  bool start_object(std::size_t) override {
    if (place_ != Place::kDocument)
      return Fail("model.vocab must map tokens to ids, model.merges be an array");
    if (next_ == Place::kVocab) return Enter();
    return Open(json::object());
  }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override {
    if (place_ == Place::kMerges && !in_pair_) {
      in_pair_ = true;
      // Only pairs may open a container within vocab and merges.
      pair_.clear();
      return true;
    }
    if (place_ != Place::kDocument)
      return Fail("model.merges must hold strings or pairs of strings");
    if (next_ == Place::kMerges) return Enter();
    return Open(json::array());
  }
  bool end_array() override {
    if (!in_pair_) return Close();
    in_pair_ = false;
    if (pair_.size() != 2) return Fail("a pair in model.merges must hold two strings");
    out_->merges.push_back({pair_[0], pair_[1]});
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return Fail(Concat("not JSON at byte ", position));
  }

 private:
  enum class Place { kDocument, kVocab, kMerges };

  bool Fail(std::string_view message) {
    if (error_.empty()) error_ = std::string(message);
    return false;
  }
  bool Enter() {
    place_ = next_;
    next_ = Place::kDocument;
    (place_ == Place::kVocab ? out_->has_vocab : out_->has_merges) = true;
    return true;
  }
  ModelJson::Text Keep(std::string_view text) {
    const ModelJson::Text kept{static_cast<uint32_t>(out_->bytes.size()),
                               static_cast<uint32_t>(text.size())};
    out_->bytes.append(text);
    return kept;
  }
  bool AddToken(uint64_t id) {
    // An array over all ids is allocated from the greatest one.
    if (id > kMaxTokenId) return Fail(Concat("model.vocab has the absurd id ", id));
    out_->vocab.push_back({token_, static_cast<int32_t>(id)});
    return true;
  }
  bool AddMergeText(std::string_view text) {
    if (in_pair_) {
      pair_.push_back(Keep(text));
      return true;
    }
    // The header that merges.txt used to have.
    if (text.starts_with("#version")) return true;
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      return Fail(Concat("the merge \"", text, "\" must be two tokens with one space between"));
    }
    // Two tokens with a space in one of them can only be told apart as a pair.
    const ModelJson::Text left = Keep(text.substr(0, space));
    out_->merges.push_back({left, Keep(text.substr(space + 1))});
    return true;
  }

  json* Put(json value);
  bool Value(json value) {
    if (place_ != Place::kDocument)
      return Fail("model.vocab must map tokens to ids, model.merges hold strings");
    next_ = Place::kDocument;
    Put(std::move(value));
    return true;
  }
  bool Open(json container) {
    if (stack_.size() >= kMaxDepth) return Fail("nested too deeply");
    next_ = Place::kDocument;
    stack_.push_back(Put(std::move(container)));
    return true;
  }
  bool Close() {
    if (place_ != Place::kDocument) {
      place_ = Place::kDocument;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  ModelJson* out_;
  std::string error_;
  Place place_ = Place::kDocument;
  Place next_ = Place::kDocument;  // where the container goes that the last key announced
  bool in_model_ = false;
  bool in_pair_ = false;
  std::string key_;
  ModelJson::Text token_;
  std::vector<ModelJson::Text> pair_;
  std::vector<json*> stack_;  // the open containers of the document
};

// Puts `value` where the document stands, and returns its place there.
json* Reader::Put(json value) {
  if (stack_.empty()) {
    out_->rest = std::move(value);
    return &out_->rest;
  }
  json& parent = *stack_.back();
  if (parent.is_array()) {
    parent.push_back(std::move(value));
    return &parent.back();
  }
  return &(parent[key_] = std::move(value));
}

}  // namespace

// A quarter of the file is a guess at the bytes of vocabulary and merges; the string may grow.
absl::StatusOr<ModelJson> ParseModelJson(std::string_view text) {
  if (text.size() >= kMaxBytes) return CorruptTokenizer("larger than 2 GiB");
  ModelJson model;
  model.bytes.reserve(text.size() / 4);
  Reader reader(&model);
  if (!json::sax_parse(text.begin(), text.end(), &reader)) return CorruptTokenizer(reader.error());
  return model;
}

}  // namespace ftd
