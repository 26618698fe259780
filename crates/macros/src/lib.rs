//! The `#[task]` attribute of manyhands: makes a function a task that worker processes know.
//!
//! The function stays what it is. Beside it, under the same name but where types live, stands an
//! empty type that implements `manyhands::Task`; its constant `task` is what executors take:
//! `fib(30)` calls, `pool.submit(fib::task, 30)` submits. A type and not a value, so that a local
//! variable may still be called `fib`.
//!
//! What it does not do: it checks no types. Arguments that serde cannot carry are the compiler's
//! error, at the argument.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, Ident, ItemFn, LitStr, ReturnType, Signature, Type};

/// Makes a function a task: `pool.submit(name::task, arguments)`.
///
/// The function takes owned arguments (at most 16) that implement serde's `Serialize` and
/// `Deserialize`, and returns such a value; a `Result` is a value like any other. Tasks are known
/// to workers by `module::path::name`; `#[task(name = "…")]` gives another name, for two
/// functions that would be called the same.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut name = None;
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("name") {
            name = Some(meta.value()?.parse::<LitStr>()?);
            return Ok(());
        }
        Err(meta.error("a task has one setting: `#[task(name = \"…\")]`"))
    });
    syn::parse_macro_input!(attribute with parser);
    let function = syn::parse_macro_input!(item as ItemFn);
    // The function is kept also beside an error, so that its callers are no errors too.
    let task = task_of(&function, name).unwrap_or_else(|error| error.to_compile_error());
    quote! { #function #task }.into()
}

const MAX_ARGUMENTS: usize = 16;

fn task_of(function: &ItemFn, name: Option<LitStr>) -> syn::Result<Tokens> {
    let signature = &function.sig;
    check(signature)?;
    let types = argument_types(signature)?;
    let output = output_type(&signature.output)?;
    let visibility = &function.vis;
    let ident = &signature.ident;
    let conditions: Vec<&Attribute> =
        function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let names: Vec<Ident> = (0..types.len()).map(|idx| format_ident!("argument_{idx}")).collect();
    // One argument is passed as it is, several as a tuple.
    let (args, pattern) = match (&types[..], &names[..]) {
        ([only], [name]) => (quote!(#only), quote!(#name)),
        _ => (quote!((#(#types),*)), quote!((#(#names),*))),
    };
    let name = match name {
        Some(name) => quote!(#name),
        None => quote!(::core::concat!(::core::module_path!(), "::", ::core::stringify!(#ident))),
    };
    let about = format!("[`{ident}()`](fn@{ident}) as a task for executors: `{ident}::task`.");
    Ok(quote! {
        #(#conditions)*
        #[doc = #about]
        #[allow(non_camel_case_types, dead_code)]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #ident {}

        #(#conditions)*
        #[allow(non_upper_case_globals, dead_code)]
        impl #ident {
            /// What executors take to run the function.
            pub const task: Self = Self {};
        }

        #(#conditions)*
        const _: () = {
            static ENTRY: ::manyhands::__private::Entry =
                ::manyhands::__private::Entry::of::<#ident>(::core::file!(), ::core::line!());

            impl ::manyhands::Task for #ident {
                type Args = #args;
                type Output = #output;
                const NAME: &'static str = #name;

                fn call(#pattern: Self::Args) -> Self::Output {
                    #ident(#(#names),*)
                }

                fn entry() -> &'static ::manyhands::__private::Entry {
                    &ENTRY
                }
            }

            ::manyhands::__private::inventory::submit! {
                ::manyhands::__private::Registered(&ENTRY)
            }
        };
    })
}

/// What a function in another process cannot be.
fn check(signature: &Signature) -> syn::Result<()> {
    let generics = &signature.generics;
    let first_generic = generics.params.first().map(Spanned::span);
    let refusals: [(Option<Span>, &str); 5] = [
        (
            signature.asyncness.as_ref().map(Spanned::span),
            "a task is a plain function: block on the future inside it",
        ),
        (
            signature.unsafety.as_ref().map(Spanned::span),
            "a task cannot be `unsafe`: whoever submits it could promise nothing",
        ),
        (signature.abi.as_ref().map(Spanned::span), "a task cannot be `extern`"),
        (
            first_generic,
            "a task cannot be generic: a worker finds it by its name; \
             write one task for each type",
        ),
        (signature.variadic.as_ref().map(Spanned::span), "a task cannot be variadic"),
    ];
    for (span, why) in refusals {
        if let Some(span) = span {
            return Err(Error::new(span, why));
        }
    }
    if signature.inputs.len() > MAX_ARGUMENTS {
        let why = "a task takes at most 16 arguments: put them into a struct";
        return Err(Error::new(signature.inputs.span(), why));
    }
    Ok(())
}

fn argument_types(signature: &Signature) -> syn::Result<Vec<&Type>> {
    signature.inputs.iter().map(argument_type).collect()
}

fn argument_type(argument: &FnArg) -> syn::Result<&Type> {
    match argument {
        FnArg::Receiver(receiver) => {
            Err(Error::new(receiver.span(), "a task is a free function: it cannot take `self`"))
        }
        FnArg::Typed(argument) => sendable(&argument.ty, "take it").map(|()| &*argument.ty),
    }
}

fn output_type(output: &ReturnType) -> syn::Result<Tokens> {
    match output {
        ReturnType::Default => Ok(quote!(())),
        ReturnType::Type(_, ty) => {
            sendable(ty, "return it")?;
            Ok(quote!(#ty))
        }
    }
}

fn sendable(ty: &Type, verb: &str) -> syn::Result<()> {
    match ty {
        Type::Reference(_) => Err(Error::new(
            ty.span(),
            format!(
                "this travels to another process, where nothing it points to exists: \
                 {verb} owned (`String` for `&str`, `Vec<T>` for `&[T]`)"
            ),
        )),
        Type::ImplTrait(_) => Err(Error::new(
            ty.span(),
            format!("this travels to another process as bytes: {verb} as a named type"),
        )),
        Type::Never(_) => Err(Error::new(ty.span(), "a task that never returns has no result")),
        _ => Ok(()),
    }
}
