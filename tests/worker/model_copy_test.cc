#include "worker/run/model_copy.h"

#include <sys/stat.h>

#include <filesystem>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kStrangersId = 3999999;

TEST(ModelCopy, CopiesWhatIsThereAndMayBeRead) {
  const TempDir temp;
  temp.Write("secret", "SECRET");
  temp.Write("model/tokenizer_config.json", "{\"a\": 1}");
  temp.Write("model/merges.txt", "a b\n");
  temp.Write("model/generation_config.json", "SECRET");
  temp.Write("model/vocab.json", "{\"a\": 1} SECRET");
  temp.Write("model/chat.jinja", "SECRET");
  const fs::path model = temp / "model", result = temp / "result";
  fs::create_symlink("../secret", model / "added_tokens.json");
  fs::create_directory(result);
  for (const fs::path& folder : {temp.path(), model}) ::chmod(folder.c_str(), 0755);
  for (const char* name : {"tokenizer_config.json", "merges.txt", "absent.json"})
    EXPECT_OK(CopyModelFile(model, name, kStrangersId, result)) << name;
  EXPECT_EQ(*ReadFile(result / "tokenizer_config.json"), "{\"a\": 1}");
  EXPECT_EQ(*ReadFile(result / "merges.txt"), "a b\n");
  EXPECT_FALSE(fs::exists(result / "absent.json"));
  // Not JSON.
  for (const char* name : {"generation_config.json", "vocab.json"}) {
    EXPECT_OK(CopyModelFile(model, name, std::nullopt, result));
    EXPECT_FALSE(fs::exists(result / name)) << name;
  }
  // A link that was put there after the job was judged.
  EXPECT_EQ(ReasonOf(CopyModelFile(model, "added_tokens.json", std::nullopt, result)),
            Reason::kModelCorrupt);
  // A file that was moved there, as one that is root's in its own user's folder can be.
  ::chmod((model / "chat.jinja").c_str(), 0600);
  EXPECT_EQ(ReasonOf(CopyModelFile(model, "chat.jinja", kStrangersId, result)), Reason::kNotOwner);
  EXPECT_OK(CopyModelFile(model, "chat.jinja", std::nullopt, result));
}

}  // namespace
}  // namespace ftd
