//! Refusals: a code for programs, one sentence with the fix for people.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tasuki_schemas::api;

/// Why a request was refused.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: StatusCode,
    error: String,
}

impl Problem {
    pub(super) fn new(code: StatusCode, error: impl Into<String>) -> Self {
        Self { code, error: error.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.code, Json(api::Problem { error: self.error })).into_response()
    }
}

/// A JSON body; what is wrong with one is said as a problem.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = Json::<T>::from_request(request, state).await;
        read.map(|Json(value)| Self(value)).map_err(|wrong| Problem::new(wrong.status(), wrong.body_text()))
    }
}

/// What nobody serves under `/api/v1`.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {}; /api/v1/openapi.json lists what there is", uri.path()))
}
