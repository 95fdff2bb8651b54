#include "server/jobs/job_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <random>
#include <set>
#include <thread>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/jobs/id.h"
#include "server/jobs/job_states.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

constexpr int64_t kRoom = 1000;

Job NewJob(const std::string& name = "", int32_t priority = 0) {
  Job job;
  job.id = NewJobId();
  job.name = name;
  job.spec_json = R"({"mode":"LORA"})";
  job.model_dir = "/models/tiny";
  job.dataset_path = "/data/rows.jsonl";
  job.labels = {{"team", "blue"}, {"quote", "it's \"x\""}};
  job.priority = priority;
  job.owner = "ada";
  return job;
}

// As long as it lives, a write beyond the end of the file ends with EFBIG.
class FullDisk {
 public:
  explicit FullDisk(const std::string& file) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit full = {.rlim_cur = std::filesystem::file_size(file),
                         .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &full);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

class JobStoreTest : public testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    store_ = nullptr;
    auto store = JobStore::Open(path());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::string path() const { return dir_.path() / "ftd.db"; }
  Job Insert(const Job& job) { return *store_->Insert(job, std::nullopt, kRoom); }

  TempDir dir_;
  std::unique_ptr<JobStore> store_;
};

TEST_F(JobStoreTest, WhatWasInsertedIsThereAfterReopening) {
  const Job job = Insert(NewJob("first"));
  Open();
  for (const std::string& key : {job.id, std::string("first")}) {
    const auto found = store_->Get(key);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->id, job.id);
    EXPECT_EQ(found->state, JobState::kQueued);
    EXPECT_EQ(found->labels, job.labels);
    EXPECT_EQ(found->owner, "ada");
    EXPECT_EQ(found->dataset_path, "/data/rows.jsonl");
  }
  const auto events = store_->Events(job.id, 0, 10);
  ASSERT_EQ(events->size(), 1u);
  EXPECT_EQ(events->front().sequence, 1);
  EXPECT_FALSE(events->front().from.has_value());
}

TEST_F(JobStoreTest, UnknownJob) {
  EXPECT_EQ(ReasonNameOf(store_->Get("nobody").status()), "JOB_NOT_FOUND");
  EXPECT_EQ(ReasonNameOf(store_->Get("").status()), "JOB_NOT_FOUND");
}

TEST_F(JobStoreTest, SameRequestGivesTheSameJob) {
  const RequestKey key{"2f5c6a0e-7f0a-4d43-9f7f-1d4f5d7b0001", "hash"};
  const auto first = store_->Insert(NewJob("a"), key, kRoom);
  const auto again = store_->Insert(NewJob("a"), key, kRoom);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(first->id, again->id);
  EXPECT_EQ((*store_->FindRequest(key))->id, first->id);
  EXPECT_EQ(store_->List(kRoom, {}, 10)->size(), 1u);

  const RequestKey other_body{key.request_id, "another hash"};
  EXPECT_EQ(ReasonNameOf(store_->Insert(NewJob(), other_body, kRoom).status()),
            "REQUEST_ID_REUSED");
  EXPECT_EQ(ReasonNameOf(store_->FindRequest(other_body).status()), "REQUEST_ID_REUSED");
}

TEST_F(JobStoreTest, ConcurrentCopiesOfARequestMakeOneJob) {
  const RequestKey key{"2f5c6a0e-7f0a-4d43-9f7f-1d4f5d7b0002", "hash"};
  std::vector<std::string> ids(8);
  std::vector<std::thread> threads;
  threads.reserve(ids.size());
  for (std::string& id : ids) {
    threads.emplace_back([&] { id = store_->Insert(NewJob(), key, kRoom)->id; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 1u);
}

TEST_F(JobStoreTest, RefusedInsertsLeaveNothing) {
  const Job job = Insert(NewJob("taken"));
  EXPECT_EQ(ReasonNameOf(store_->Insert(NewJob("taken"), std::nullopt, kRoom).status()),
            "NAME_IN_USE");
  EXPECT_EQ(ReasonNameOf(store_->Insert(NewJob(job.id), std::nullopt, kRoom).status()),
            "NAME_IN_USE");
  EXPECT_EQ(ReasonNameOf(store_->Insert(NewJob("free"), std::nullopt, 1).status()), "QUEUE_FULL");
  EXPECT_EQ(store_->List(kRoom, {}, 10)->size(), 1u);
}

TEST_F(JobStoreTest, QueueGoesByHeadThenPriorityThenAge) {
  const Job old = Insert(NewJob("old"));
  const Job urgent = Insert(NewJob("urgent", 5));
  const Job young = Insert(NewJob("young"));
  EXPECT_EQ((*store_->NextQueued())->name, "urgent");
  EXPECT_EQ(store_->Position(urgent), 1);
  EXPECT_EQ(store_->Position(old), 2);
  EXPECT_EQ(store_->Position(young), 3);

  ASSERT_TRUE(store_->StartAttempt(young, Attempt{.number = 1}).ok());
  const auto back =
      store_->EndAttempt(*store_->Get(young.id), {.number = 1, .state = AttemptState::kStopped},
                         {.to = JobState::kQueued, .at_head = true});
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ((*store_->NextQueued())->name, "young");
  const auto queued = store_->Queued(2);
  ASSERT_EQ(queued->size(), 2u);
  EXPECT_EQ((*queued)[0].name, "young");
  EXPECT_EQ((*queued)[1].name, "urgent");
  EXPECT_EQ(store_->Position(*back), 1);
  EXPECT_EQ(store_->Position(urgent), 2);
}

TEST_F(JobStoreTest, ChangesAreCounted) {
  EXPECT_EQ(store_->changes(), 0);
  const Job job = Insert(NewJob("job"));
  EXPECT_EQ(store_->changes(), 1);
  EXPECT_FALSE(
      store_->Amend(job.id, {JobState::kHeld}, [](Job&) { return absl::OkStatus(); }).ok());
  EXPECT_EQ(store_->changes(), 1);
  ASSERT_TRUE(store_
                  ->Amend(job.id, {JobState::kQueued},
                          [](Job& amended) {
                            amended.priority = 1;
                            return absl::OkStatus();
                          })
                  .ok());
  ASSERT_TRUE(store_->MoveJob(job.id, {JobState::kQueued}, {.to = JobState::kCancelled}).ok());
  EXPECT_EQ(store_->changes(), 3);
  ASSERT_TRUE(store_->Delete(job.id).ok());
  EXPECT_EQ(store_->changes(), 4);
}

TEST_F(JobStoreTest, AnotherPriorityIsAnotherPlace) {
  const Job a = Insert(NewJob("a")), b = Insert(NewJob("b"));
  const auto raise = [](Job& job) {
    job.priority = 7;
    return absl::OkStatus();
  };
  const auto raised = store_->Amend(b.id, {JobState::kQueued}, raise);
  ASSERT_TRUE(raised.ok()) << raised.status();
  EXPECT_EQ((*store_->NextQueued())->name, "b");
  EXPECT_EQ(store_->Position(*raised), 1);
  EXPECT_EQ(store_->Position(a), 2);
  EXPECT_EQ(store_->Events(b.id, 0, 10)->size(), 1u);
  EXPECT_EQ(raised->labels, b.labels);
}

TEST_F(JobStoreTest, AChangeThatIsRefusedLeavesNothing) {
  const Job job = Insert(NewJob());
  const auto change = [](Job& changed) {
    changed.priority = 7;
    return absl::InvalidArgumentError("no");
  };
  EXPECT_FALSE(store_->Amend(job.id, {JobState::kQueued}, change).ok());
  EXPECT_EQ(ReasonNameOf(store_->Amend(job.id, {JobState::kHeld}, change).status()),
            "STATE_CONFLICT");
  EXPECT_EQ(store_->Get(job.id)->priority, 0);
}

// Who decides looks first, and somebody else may change the job before the decision is stored.
TEST_F(JobStoreTest, ADecisionAboutAnotherJobThanThereIsByNowIsAConflict) {
  const auto keep = [](Job& job) {
    job.keep = true;
    return absl::OkStatus();
  };
  const Job queued = Insert(NewJob());
  const Job kept = *store_->Amend(queued.id, {JobState::kQueued}, keep);
  EXPECT_EQ(ReasonNameOf(store_->StartAttempt(queued, {.number = 1}).status()), "STATE_CONFLICT");
  const auto preparing = store_->StartAttempt(kept, {.number = 1});
  ASSERT_TRUE(preparing.ok()) << preparing.status();
  EXPECT_TRUE(preparing->keep);

  const Move cancel{.to = JobState::kCancelling, .keep = false};
  ASSERT_TRUE(store_->MoveJob(queued.id, {JobState::kPreparing}, cancel).ok());
  EXPECT_FALSE(store_->Get(queued.id)->keep);
  const Attempt end{.number = 1, .state = AttemptState::kStopped};
  const Move again{.to = JobState::kQueued, .at_head = true};
  EXPECT_EQ(ReasonNameOf(store_->EndAttempt(*preparing, end, again).status()), "STATE_CONFLICT");
  EXPECT_EQ(store_->Attempts(queued.id)->front().state, AttemptState::kActive);
}

TEST_F(JobStoreTest, NoRequestChangesAJobWhoseResultIsBeingPublished) {
  const Job queued = Insert(NewJob());
  const Job preparing = *store_->StartAttempt(queued, {.number = 1});
  const Job running =
      *store_->MoveJob(queued.id, {JobState::kPreparing}, {.to = JobState::kRunning});
  EXPECT_EQ(ReasonNameOf(store_->CloseResult(preparing)), "STATE_CONFLICT") << "judged too early";
  EXPECT_FALSE(store_->IsResultClosed(queued.id));
  ASSERT_TRUE(store_->CloseResult(running).ok());
  EXPECT_TRUE(store_->IsResultClosed(queued.id));
  const Move cancel{.to = JobState::kCancelling};
  EXPECT_EQ(ReasonNameOf(store_->MoveJob(queued.id, {JobState::kRunning}, cancel).status()),
            "STATE_CONFLICT");
  const auto set_keep = [](Job& job) {
    job.keep = true;
    return absl::OkStatus();
  };
  const auto set_priority = [](Job& job) {
    job.priority = 3;
    return absl::OkStatus();
  };
  EXPECT_EQ(ReasonNameOf(store_->Amend(queued.id, {JobState::kRunning}, set_keep).status()),
            "STATE_CONFLICT");
  EXPECT_TRUE(store_->Amend(queued.id, {JobState::kRunning}, set_priority).ok());
  store_->ReopenResult(queued.id);
  ASSERT_TRUE(store_->MoveJob(queued.id, {JobState::kRunning}, {.to = JobState::kPausing}).ok());
  const Job pausing = *store_->Get(queued.id);
  ASSERT_TRUE(store_->CloseResult(pausing).ok());
  const Attempt end{.number = 1, .state = AttemptState::kSucceeded};
  EXPECT_TRUE(store_->EndAttempt(pausing, end, {.to = JobState::kSucceeded}).ok());
  EXPECT_FALSE(store_->IsResultClosed(queued.id));
}

TEST_F(JobStoreTest, AJobWaitsForSpaceUntilItsNextMove) {
  const Job queued = Insert(NewJob());
  const auto wait = [](Job& job) {
    job.space_wanted = 1000;
    return absl::OkStatus();
  };
  ASSERT_TRUE(store_->Amend(queued.id, {JobState::kQueued}, wait).ok());
  EXPECT_EQ(store_->Get(queued.id)->space_wanted, 1000);
  EXPECT_EQ(store_->StartAttempt(queued, {.number = 1})->space_wanted, 0);
}

TEST_F(JobStoreTest, ListsInPagesNewestFirst) {
  for (int i = 0; i < 5; ++i) Insert(NewJob(absl::StrCat("job-", i)));
  const auto page = store_->List(INT64_MAX, {}, 2);
  ASSERT_EQ(page->size(), 2u);
  EXPECT_EQ(page->at(0).name, "job-4");
  const auto next = store_->List(page->back().ordinal, {}, 10);
  EXPECT_EQ(next->front().name, "job-2");
  EXPECT_EQ(next->size(), 3u);
  EXPECT_TRUE(store_->List(INT64_MAX, {JobState::kRunning, JobState::kFailed}, 10)->empty());
  EXPECT_EQ(store_->List(INT64_MAX, {JobState::kRunning, JobState::kQueued}, 10)->size(), 5u);
}

TEST_F(JobStoreTest, PagesEndWithTheirBytes) {
  Job job = NewJob();
  job.spec_json.resize(1000, ' ');
  for (int i = 0; i < 5; ++i) {
    job.id = NewJobId();
    Insert(job);
  }
  const auto sizes = [&](int64_t limit, int64_t bytes) {
    const auto page = store_->Page(INT64_MAX, {}, limit, bytes);
    return std::make_pair(page->jobs.size(), page->more);
  };
  EXPECT_EQ(sizes(10, INT64_MAX), std::make_pair(size_t{5}, false));
  EXPECT_EQ(sizes(5, INT64_MAX), std::make_pair(size_t{5}, false));
  EXPECT_EQ(sizes(4, INT64_MAX), std::make_pair(size_t{4}, true));
  EXPECT_EQ(sizes(INT64_MAX, 1500), std::make_pair(size_t{2}, true));
  EXPECT_EQ(sizes(INT64_MAX, 0), std::make_pair(size_t{1}, true));
  EXPECT_EQ(sizes(INT64_MAX, 4999), std::make_pair(size_t{5}, false));
}

// A commit that the disk refuses may or may not have been made, so its caller must ask again.
TEST_F(JobStoreTest, AnErrorOfTheDiskIsUnavailable) {
  Insert(NewJob());
  absl::StatusOr<Job> job;
  {
    const FullDisk full(path() + "-wal");
    job = store_->Insert(NewJob("late"), std::nullopt, kRoom);
  }
  ASSERT_FALSE(job.ok());
  EXPECT_EQ(job.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(job.status()), Reason::kDbIo);
  EXPECT_THAT(std::string(job.status().message()),
              testing::EndsWith("outcome unknown: repeat with the request id"));
  EXPECT_EQ(Insert(NewJob("late")).name, "late");
}

// From every state to every state: a legal move is stored with its event, another leaves the job as
// it was.
TEST_F(JobStoreTest, MovesAreThoseOfTheTable) {
  const std::map<JobState, std::vector<JobState>> way = {
      {JobState::kQueued, {}},
      {JobState::kHeld, {JobState::kHeld}},
      {JobState::kPreparing, {JobState::kPreparing}},
      {JobState::kRunning, {JobState::kPreparing, JobState::kRunning}},
      {JobState::kPausing, {JobState::kPreparing, JobState::kPausing}},
      {JobState::kPaused, {JobState::kPreparing, JobState::kPausing, JobState::kPaused}},
      {JobState::kCancelling, {JobState::kPreparing, JobState::kCancelling}},
      {JobState::kSucceeded, {JobState::kPreparing, JobState::kRunning, JobState::kSucceeded}},
      {JobState::kFailed, {JobState::kPreparing, JobState::kFailed}},
      {JobState::kCancelled, {JobState::kCancelled}}};
  for (const auto& [from, path] : way) {
    for (const JobState to : kAllJobStates) {
      const Job job = Insert(NewJob());
      JobState state = JobState::kQueued;
      for (const JobState next : path) {
        ASSERT_TRUE(store_->MoveJob(job.id, {state}, {.to = next}).ok());
        state = next;
      }
      const auto moved = store_->MoveJob(job.id, {from}, {.to = to, .message = "why"});
      const std::string pair = absl::StrCat(JobStateName(from), ">", JobStateName(to));
      EXPECT_EQ(moved.ok(), IsLegalMove(from, to)) << pair;
      EXPECT_EQ(store_->Get(job.id)->state, moved.ok() ? to : from) << pair;
      EXPECT_EQ(store_->Events(job.id, 0, 100)->size(), 1 + path.size() + (moved.ok() ? 1 : 0))
          << pair;
      if (!moved.ok()) {
        EXPECT_EQ(ReasonNameOf(moved.status()), "STATE_CONFLICT") << pair;
      }
    }
  }
}

TEST_F(JobStoreTest, AMoveFromAnotherStateThanExpectedIsAConflict) {
  const Job job = Insert(NewJob());
  EXPECT_EQ(ReasonNameOf(
                store_->MoveJob(job.id, {JobState::kHeld}, {.to = JobState::kCancelled}).status()),
            "STATE_CONFLICT");
}

TEST_F(JobStoreTest, AttemptsCarryWhatIsKnown) {
  const Job job = Insert(NewJob());
  ASSERT_TRUE(store_->StartAttempt(job, {.number = 1, .resumed_from = "/c/checkpoint-7"}).ok());
  EXPECT_EQ(ReasonNameOf(store_->StartAttempt(job, {.number = 2}).status()), "STATE_CONFLICT");
  ASSERT_TRUE(
      store_->RecordWorker(job.id, {.number = 1, .pid = 77, .pid_start = 123, .boot_id = "boot"})
          .ok());
  EXPECT_EQ(store_->Active()->size(), 1u);
  Attempt end{.number = 1, .state = AttemptState::kCrashed, .reason = "gone", .signal = 9};
  end.first_step = 8;
  end.last_step = 12;
  ASSERT_TRUE(
      store_
          ->EndAttempt(
              *store_->Get(job.id), end,
              {.to = JobState::kQueued, .not_before = absl::FromUnixMicros(5), .crashes = 2})
          .ok());
  const Attempt stored = store_->Attempts(job.id)->front();
  EXPECT_EQ(stored.state, AttemptState::kCrashed);
  EXPECT_EQ(stored.pid, 77);
  EXPECT_EQ(stored.pid_start, 123);
  EXPECT_EQ(stored.boot_id, "boot");
  EXPECT_EQ(stored.signal, 9);
  EXPECT_FALSE(stored.exit_code.has_value());
  EXPECT_EQ(stored.last_step, 12);
  EXPECT_EQ(stored.resumed_from, "/c/checkpoint-7");
  EXPECT_EQ(store_->Get(job.id)->crashes, 2);
  EXPECT_TRUE(store_->Active()->empty());
}

TEST_F(JobStoreTest, ListenerHearsEachChangeOnceAndInOrder) {
  std::vector<std::string> heard;
  store_->SetListener([&](const Job& job, const StateEvent& event) {
    EXPECT_EQ(job.state, event.to);
    heard.push_back(absl::StrCat(event.sequence, JobStateName(event.to)));
  });
  const Job job = Insert(NewJob());
  store_->StartAttempt(job, {.number = 1}).status().IgnoreError();
  store_->MoveJob(job.id, {JobState::kQueued}, {.to = JobState::kHeld})
      .status()
      .IgnoreError();  // refused
  store_->MoveJob(job.id, {JobState::kPreparing}, {.to = JobState::kRunning})
      .status()
      .IgnoreError();
  EXPECT_THAT(heard, testing::ElementsAre("1QUEUED", "2PREPARING", "3RUNNING"));
}

// What is answered from memory, against a look at each job.
void ExpectCountsAndPlaces(JobStore& store) {
  const auto jobs = store.List(INT64_MAX, {}, INT64_MAX);
  ASSERT_TRUE(jobs.ok());
  const auto queued = [](const Job& job) { return job.state == JobState::kQueued; };
  const auto place = [](const Job& job) {
    return std::make_tuple(!job.at_head, -job.priority, job.ordinal);
  };
  std::map<std::string, std::map<JobState, int64_t>> counts;
  for (const Job& job : *jobs) {
    ++counts[""][job.state];
    ++counts[job.owner][job.state];
    if (!queued(job)) continue;
    const auto before = std::count_if(jobs->begin(), jobs->end(), [&](const Job& other) {
      return queued(other) && place(other) < place(job);
    });
    ASSERT_EQ(store.Position(job), before + 1) << job.id;
  }
  for (const std::string owner : {"", "ada", "grace", "nobody"}) {
    const auto counted =
        store.CountByState(owner.empty() ? std::nullopt : std::optional<std::string>(owner));
    for (const JobState state : kAllJobStates) {
      ASSERT_EQ(counted.at(state), counts[owner][state]) << owner << " " << JobStateName(state);
      if (owner.empty()) continue;
      ASSERT_EQ(static_cast<int64_t>(store.List(INT64_MAX, {state}, INT64_MAX, owner)->size()),
                counts[owner][state]);
    }
  }
}

// Random calls against a model of the queue that fits in a few lines.
TEST_F(JobStoreTest, RandomOperationsAgreeWithAModel) {
  const char* given = std::getenv("FTD_TEST_SEED");
  const unsigned seed = given != nullptr ? std::stoul(given) : std::random_device()();
  SCOPED_TRACE(absl::StrCat("FTD_TEST_SEED=", seed));
  std::mt19937 random(seed);
  std::map<std::string, JobState> model;
  const auto new_job = [&] {
    Job job = NewJob("", static_cast<int32_t>(random() % 5));
    if (random() % 3 == 0) job.owner = "grace";
    return job;
  };
  std::vector<std::string> ids;
  for (int i = 0; i < 1500; ++i) {
    if (ids.empty() || random() % 4 == 0) {
      ids.push_back(Insert(new_job()).id);
      model[ids.back()] = JobState::kQueued;
      if (model.size() > 900) break;
      continue;
    }
    const size_t chosen = random() % ids.size();
    const std::string id = ids[chosen];
    if (random() % 10 == 0) {
      ASSERT_EQ(store_->Delete(id).ok(), IsFinal(model[id]));
      if (!IsFinal(model[id])) continue;
      model.erase(id);
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(chosen));
      continue;
    }
    if (random() % 10 == 0) {
      const bool amended = store_
                               ->Amend(id, {JobState::kQueued},
                                       [&](Job& job) {
                                         job.priority = static_cast<int32_t>(random() % 5);
                                         return absl::OkStatus();
                                       })
                               .ok();
      ASSERT_EQ(amended, model[id] == JobState::kQueued);
      continue;
    }
    const JobState from = kAllJobStates[random() % std::size(kAllJobStates)];
    const JobState to = kAllJobStates[random() % std::size(kAllJobStates)];
    const bool moved = store_->MoveJob(id, {from}, {.to = to, .at_head = random() % 3 == 0}).ok();
    ASSERT_EQ(moved, model[id] == from && IsLegalMove(from, to));
    if (moved) model[id] = to;
  }
  ExpectCountsAndPlaces(*store_);
  Open();
  for (const auto& [id, state] : model) ASSERT_EQ(store_->Get(id)->state, state);
  ExpectCountsAndPlaces(*store_);
}

// Those that come at once share transactions; each is judged as if it were alone, and the queue's
// limit counts those that are not on disk yet.
TEST_F(JobStoreTest, ChangesThatComeAtOnceAreEachKeptOrRefused) {
  constexpr int kThreads = 16, kEach = 30, kMost = 200;
  std::atomic<int> kept = 0, full = 0, taken = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        const bool twice = i % 5 == 0 && thread % 2 == 0;  // a name that others ask for as well
        const std::string name = twice ? absl::StrCat("name-", i) : "";
        const auto job = store_->Insert(NewJob(name, i % 3), std::nullopt, kMost);
        if (job.ok()) {
          ++kept;
          EXPECT_EQ(store_->Get(job->id)->state, JobState::kQueued);
        } else {
          ++(ReasonOf(job.status()) == Reason::kQueueFull ? full : taken);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(kept, kMost);
  EXPECT_EQ(kept + full + taken, kThreads * kEach);
  EXPECT_EQ(store_->List(INT64_MAX, {}, INT64_MAX)->size(), size_t{kMost});
  ExpectCountsAndPlaces(*store_);
}

// The disk takes nothing: none of those that wait is told that it was kept, and memory forgets
// them all.
TEST_F(JobStoreTest, AFullDiskKeepsNoneOfAGroup) {
  Insert(NewJob());
  auto full = std::make_unique<FullDisk>(path() + "-wal");
  std::atomic<int> kept = 0;
  std::vector<std::thread> threads;
  threads.reserve(16);
  for (int thread = 0; thread < 16; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) kept += store_->Insert(NewJob(), std::nullopt, kRoom).ok();
    });
  }
  for (std::thread& thread : threads) thread.join();
  full.reset();
  EXPECT_EQ(kept, 0);
  EXPECT_EQ(store_->CountByState().at(JobState::kQueued), 1);
  ExpectCountsAndPlaces(*store_);
  Insert(NewJob());
  ExpectCountsAndPlaces(*store_);
}

TEST_F(JobStoreTest, ListsOfStatesArePagesToo) {
  std::vector<std::string> ids;
  for (int i = 0; i < 9; ++i) ids.push_back(Insert(NewJob()).id);
  for (int i = 0; i < 9; i += 3)
    ASSERT_TRUE(store_->MoveJob(ids[i], {JobState::kQueued}, {.to = JobState::kHeld}).ok());
  ASSERT_TRUE(store_->MoveJob(ids[4], {JobState::kQueued}, {.to = JobState::kCancelled}).ok());
  std::vector<std::string> seen;
  int64_t before = INT64_MAX;
  for (bool more = true; more;) {
    const JobFilter filter{.states = {JobState::kHeld, JobState::kQueued, JobState::kHeld}};
    const auto page = store_->Page(before, filter, 3, INT64_MAX);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const Job& job : page->jobs) seen.push_back(job.id);
    before = page->jobs.back().ordinal;
    more = page->more;
  }
  EXPECT_THAT(seen,
              testing::ElementsAre(ids[8], ids[7], ids[6], ids[5], ids[3], ids[2], ids[1], ids[0]));
}

}  // namespace
}  // namespace ftd
