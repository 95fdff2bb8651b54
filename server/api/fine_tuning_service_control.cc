// The calls that steer jobs.
#include "server/api/fine_tuning_service.h"
#include "server/requests/job_control.h"

namespace ftd {

FineTuningService::Unary* FineTuningService::CancelJob(Context* context,
                                                       const v1::CancelJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(context, [=, this] {
    const auto job =
        request->keep()
            ? CancelJobAndKeep(parts_.store, parts_.state_dir, request->job(), request->reason())
            : ftd::CancelJob(parts_.store, request->job(), request->reason());
    return View(job, response);
  });
}

FineTuningService::Unary* FineTuningService::PauseJob(Context* context,
                                                      const v1::PauseJobRequest* request,
                                                      v1::Job* response) {
  return OnPool(context,
                [=, this] { return View(ftd::PauseJob(parts_.store, request->job()), response); });
}

FineTuningService::Unary* FineTuningService::ResumeJob(Context* context,
                                                       const v1::ResumeJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(context,
                [=, this] { return View(ftd::ResumeJob(parts_.store, request->job()), response); });
}

FineTuningService::Unary* FineTuningService::HoldJob(Context* context,
                                                     const v1::HoldJobRequest* request,
                                                     v1::Job* response) {
  return OnPool(context,
                [=, this] { return View(ftd::HoldJob(parts_.store, request->job()), response); });
}

FineTuningService::Unary* FineTuningService::ReleaseJob(Context* context,
                                                        const v1::ReleaseJobRequest* request,
                                                        v1::Job* response) {
  return OnPool(
      context, [=, this] { return View(ftd::ReleaseJob(parts_.store, request->job()), response); });
}

FineTuningService::Unary* FineTuningService::UpdateJob(Context* context,
                                                       const v1::UpdateJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(context, [=, this] {
    JobChanges changes{
        .labels = {request->labels().begin(), request->labels().end()},
        .remove_labels = {request->remove_labels().begin(), request->remove_labels().end()}};
    if (request->has_priority()) changes.priority = request->priority();
    return View(ftd::UpdateJob(parts_.store, request->job(), changes), response);
  });
}

FineTuningService::Unary* FineTuningService::DeleteJob(Context* context,
                                                       const v1::DeleteJobRequest* request,
                                                       v1::DeleteJobResponse*) {
  return OnPool(context, [=, this] {
    return ftd::DeleteJob(parts_.store, parts_.state_dir, request->job(), request->results());
  });
}

}  // namespace ftd
